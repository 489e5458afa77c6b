package faultproxy

import (
	"context"
	"errors"
	"io"
	"time"
)

// strike is a fault on its way to one request.
type strike struct {
	Fault
	hit func() // counts it
}

// at tells whether the fault strikes at that moment.
func (s *strike) at(where Where) bool { return s != nil && s.Where == where }

// errStruck ends a stream: what its fault's action says is to be done.
var errStruck = errors.New("a fault struck")

// stream is a body with a fault in it.
type stream struct {
	ctx    context.Context // ends a drip
	from   io.Reader
	strike *strike
	at     int64
	struck bool
}

func (s *stream) Read(p []byte) (int, error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case s.at < s.strike.After:
		p = p[:min(int64(len(p)), s.strike.After-s.at)]
	case s.strike.Action == Drip:
		if err := s.pause(); err != nil {
			return 0, err
		}
		p = p[:min(int64(len(p)), max(1, s.strike.Piece))]
	case s.struck:
	case s.strike.Action != Corrupt:
		s.mark()
		return 0, errStruck
	}
	n, err := s.from.Read(p)
	if n > 0 && s.at >= s.strike.After && !s.struck {
		if s.strike.Action == Corrupt {
			p[0] ^= 4
		}
		s.mark()
	}
	s.at += int64(n)
	return n, err
}

func (s *stream) mark() {
	s.struck = true
	s.strike.hit()
}

func (s *stream) pause() error {
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-time.After(s.strike.Pause):
		return nil
	}
}
