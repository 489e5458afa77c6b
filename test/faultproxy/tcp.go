package faultproxy

import (
	"io"
	"net"
	"sync"
	"time"
)

// serveTCP passes bytes on in both directions.
func (l *link) serveTCP() {
	server, err := l.dial()
	if err != nil {
		l.client.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.relay(server, l.client, InRequest) })
	both.Go(func() { l.relay(l.client, server, InAnswer) })
	both.Wait()
	l.client.Close()
	server.Close()
}

// relay copies until the end of one direction, or until a fault strikes.
func (l *link) relay(to, from *net.TCPConn, where Where) {
	buf := make([]byte, 16<<10)
	var (
		now  *script
		at   int64 // bytes since now was armed
		mine *armed
	)
	for {
		n, err := from.Read(buf)
		if armed := l.p.armed(); armed != now {
			now, at, mine = armed, 0, nil
		}
		piece := buf[:n]
		if mine == nil && n > 0 {
			mine = l.p.strikeAt(now, where, at+int64(n))
			if mine != nil && l.spoil(mine, to, from, piece, at) {
				return
			}
		}
		at += int64(n)
		if !l.forward(to, piece, mine) || err != nil {
			if err != nil && err != io.EOF {
				to.Close()
				return
			}
			to.CloseWrite() //nolint:errcheck // it is gone
			return
		}
	}
}

// spoil does what the fault says to a piece that begins at a number of bytes,
// and says whether the connection is over.
func (l *link) spoil(fault *armed, to, from *net.TCPConn, piece []byte, at int64) (over bool) {
	index := max(0, fault.After-at)
	switch fault.Action {
	case Corrupt:
		piece[index] ^= 4
		return false
	case Drip:
		return false
	}
	to.Write(piece[:index]) //nolint:errcheck // it is gone
	switch fault.Action {
	case Reset:
		reset(to, from)
	case Stall:
		l.stall(fault.Fault, from)
	case Truncate:
		to.CloseWrite()           //nolint:errcheck // it is gone
		from.CloseWrite()         //nolint:errcheck // it is gone
		io.Copy(io.Discard, from) //nolint:errcheck // ends with who sends
	}
	return true
}

// forward writes the piece, in drips if that is the connection's fault.
func (l *link) forward(to *net.TCPConn, piece []byte, fault *armed) bool {
	for len(piece) > 0 {
		n := len(piece)
		if fault != nil && fault.Action == Drip {
			n = min(n, int(max(1, fault.Piece)))
			select {
			case <-l.ctx.Done():
				return false
			case <-time.After(fault.Pause):
			}
		}
		if _, err := to.Write(piece[:n]); err != nil {
			return false
		}
		piece = piece[n:]
	}
	return true
}

func (p *Proxy) armed() *script {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.script
}

// strikeAt picks the fault of a connection on which so many bytes have passed
// in a direction.
func (p *Proxy) strikeAt(now *script, where Where, passed int64) *armed {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, fault := range now.faults {
		if fault.Where == where && passed > fault.After && fault.strikes() {
			fault.struck++
			return fault
		}
	}
	return nil
}
