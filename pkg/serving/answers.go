package serving

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coulomb/artifact-store/pkg/shares"
)

// Answers limits the answers that are in memory as a whole at a time, such as pages:
// they stay there until their clients have read them. Places are lent in turns
// between holders. Safe for concurrent use.
type Answers struct{ places *shares.Pool }

// NewAnswers returns one for that many.
func NewAnswers(most int64) *Answers { return &Answers{shares.New(most)} }

// Enter waits for a place. Call leave when the answer is sent. While others wait, the
// answer must be read at answerRate, after paceGrace.
func (a *Answers) Enter(w *Writer, r *http.Request) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(r.Context(), answerPatience)
	defer cancel()
	place, err := a.places.Take(ctx, 1)
	if err != nil && r.Context().Err() == nil {
		return nil, &BusyError{fmt.Sprintf("%s asks for too much at a time", shares.HolderOf(r.Context()))}
	}
	if err != nil {
		return nil, err
	}
	calm := w.hurry(a.places.Crowded())
	return func() { calm(); place.Return() }, nil
}

// haste is how soon an answer must be read while others wait for what it takes.
type haste struct {
	mu    sync.Mutex
	since time.Time     // when others began to wait, zero while nobody does
	wrote time.Time     // when the last write began, zero before the first
	needs time.Duration // of that write, at answerRate
	left  bool          // its deadlines are not set from elsewhere any more
}

// hurry asks the client to read the answer at answerRate from when crowded is closed
// on, after paceGrace: below that, writing fails. calm ends it.
func (w *Writer) hurry(crowded <-chan struct{}) (calm func()) {
	one, left := &haste{}, make(chan struct{})
	w.haste = one
	go func() {
		select {
		case <-crowded:
		case <-left:
			return
		}
		one.mu.Lock()
		defer one.mu.Unlock()
		one.since = time.Now()
		if !one.left && !one.wrote.IsZero() {
			w.control.SetWriteDeadline(one.due()) //nolint:errcheck // best effort: else with the next write
		}
	}()
	return func() {
		close(left)
		one.mu.Lock()
		defer one.mu.Unlock()
		one.left, w.haste = true, nil
		if !one.since.IsZero() && !one.wrote.IsZero() {
			w.renewed = time.Now()
			w.control.SetWriteDeadline(w.renewed.Add(w.handler.opts.StallTimeout)) //nolint:errcheck // best effort, as above
		}
	}
}

// due is when the write must be over. mu is held.
func (h *haste) due() time.Time {
	from := h.wrote
	if from.Before(h.since) {
		from = h.since
	}
	return from.Add(paceGrace + h.needs)
}

// writes is called before n bytes are written.
func (h *haste) writes(w *Writer, n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wrote, h.needs = time.Now(), time.Duration(n)*time.Second/answerRate
	if !h.since.IsZero() {
		w.control.SetWriteDeadline(h.due()) //nolint:errcheck // best effort, as above
	}
}
