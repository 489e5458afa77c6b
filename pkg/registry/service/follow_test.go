package service_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// However many follow, each event is read and encoded once: all get the same
// bytes. Those who are behind when they begin, or begin later, miss nothing.
func TestFollowersShareTheTail(t *testing.T) {
	t.Parallel()
	const followers, pushes = 50, 20
	for engine, url := range engines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			w := newSweepWorld(t, url(t), 0, nil)
			s := w.services[0]
			w.publish(t, "0", map[string][]byte{"a": []byte("a")})
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			head, err := s.LogHead(ctx)
			if err != nil {
				t.Fatal(err)
			}
			type told struct {
				follower int
				event    registry.Event
			}
			events, ended := make(chan told, (followers+1)*(pushes+int(head.Position))), make(chan error, followers+1)
			follow := func(follower int, after uint64) {
				ended <- s.FollowEvents(ctx, registry.EventQuery{After: after}, func(e registry.Event) error { events <- told{follower, e}; return nil })
			}
			for i := range followers {
				go follow(i, head.Position)
			}
			go follow(followers, 0)
			seen, encoded := map[int]uint64{followers: 0}, map[uint64]*byte{}
			for i := range followers {
				seen[i] = head.Position
			}
			take := func(upTo uint64) {
				t.Helper()
				for waiting := followers + 1; waiting > 0; {
					waiting = 0
					for _, position := range seen {
						if position < upTo {
							waiting++
						}
					}
					if waiting == 0 {
						return
					}
					select {
					case got := <-events:
						if got.event.Position != seen[got.follower]+1 {
							t.Fatalf("follower %d got %d after %d", got.follower, got.event.Position, seen[got.follower])
						}
						seen[got.follower] = got.event.Position
						if got.event.Position <= head.Position+1 {
							continue // who began first, or had read the log, may have its own
						}
						data, err := got.event.JSON()
						if err != nil {
							t.Fatal(err)
						}
						if first, known := encoded[got.event.Position]; known && first != &data[0] {
							t.Errorf("event %d was encoded again for follower %d", got.event.Position, got.follower)
						}
						encoded[got.event.Position] = &data[0]
					case err := <-ended:
						t.Fatal(err)
					case <-ctx.Done():
						t.Fatalf("%d followers were not told of %d", waiting, upTo)
					}
				}
			}
			w.publish(t, "first", map[string][]byte{"a": []byte("a")})
			take(head.Position + 1) // all follow now
			for i := range pushes {
				w.publish(t, fmt.Sprint("v", i), map[string][]byte{"a": []byte("a")})
			}
			take(head.Position + 1 + pushes)
		})
	}
}
