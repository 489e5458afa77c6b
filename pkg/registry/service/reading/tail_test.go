package reading

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// The tail holds a bounded number of bytes, and says of what it dropped that it
// must be read from the log.
func TestTailIsBounded(t *testing.T) {
	t.Parallel()
	tail := &tail{last: 10, news: make(chan struct{})}
	if events, news, behind, err := tail.next(10); len(events) > 0 || news == nil || behind || err != nil {
		t.Errorf("at the end of an empty tail: %v, %v, %v", events, behind, err)
	}
	if _, _, behind, _ := tail.next(9); !behind {
		t.Error("what was there before the tail began is not behind")
	}
	payload := fmt.Appendf(nil, "%q", strings.Repeat("x", 64<<10))
	const added = 100
	for position := uint64(11); position < 11+added; position++ {
		e, err := registry.Event{Position: position, Payload: payload}.EncodeOnce()
		if err != nil {
			t.Fatal(err)
		}
		tail.add(e)
	}
	if tail.size > tailBytes || len(tail.events) < tailStep {
		t.Errorf("%d events of %d bytes are held", len(tail.events), tail.size)
	}
	oldest := tail.events[0].Position
	if _, _, behind, _ := tail.next(oldest - 2); !behind {
		t.Error("what was dropped is not behind")
	}
	for after := oldest - 1; after < tail.last; {
		events, _, behind, err := tail.next(after)
		if behind || err != nil || len(events) == 0 || len(events) > tailStep || events[0].Position != after+1 {
			t.Fatalf("after %d: %d events, %v, %v", after, len(events), behind, err)
		}
		after = events[len(events)-1].Position
	}
	gone := errors.New("gone")
	tail.end(gone)
	if _, _, _, err := tail.next(tail.last); !errors.Is(err, gone) {
		t.Errorf("at the end of a tail that ended: %v", err)
	}
}
