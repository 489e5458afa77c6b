package serving

import (
	"context"
	"sync"
	"time"
)

// endPatience is how long a request waits for older ones that it has ended.
const endPatience = 10 * time.Second

// Running are requests of this process that add bytes to something, by what they
// add to: a group, such as an upload session, and a name in it. The zero value is empty.
type Running struct {
	mu     sync.Mutex
	groups map[string]map[*Adding]bool
}

// Adding is one of them.
type Adding struct {
	name      string
	interrupt func()
	done      chan struct{}
}

// Begin notes a request until end is called. older are those with the same group
// and name that were noted before. Begin it only for a caller who may add there:
// others must not be able to end it.
func (r *Running) Begin(group, name string, w *Writer) (older []*Adding, end func()) {
	one := &Adding{name, w.Interrupt, make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	older = r.find(group, name)
	if r.groups == nil {
		r.groups = map[string]map[*Adding]bool{}
	}
	if r.groups[group] == nil {
		r.groups[group] = map[*Adding]bool{}
	}
	r.groups[group][one] = true
	return older, func() {
		close(one.done)
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.groups[group], one)
		if len(r.groups[group]) == 0 {
			delete(r.groups, group)
		}
	}
}

// Find lists the requests with a group and name; with the name "" all of the group.
func (r *Running) Find(group, name string) []*Adding {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.find(group, name)
}

func (r *Running) find(group, name string) []*Adding {
	var found []*Adding
	for one := range r.groups[group] {
		if name == "" || one.name == name {
			found = append(found, one)
		}
	}
	return found
}

// EndAll ends older requests, and waits until what they brought is stored: their
// client has given them up, or it would not ask
// (draft-ietf-httpbis-resumable-upload, "Concurrency"). Call it only for a caller
// who may see what they add to.
func EndAll(ctx context.Context, older []*Adding) {
	for _, one := range older {
		one.interrupt()
	}
	patience := time.After(endPatience)
	for _, one := range older {
		select {
		case <-one.done:
		case <-ctx.Done():
			return
		case <-patience:
			return
		}
	}
}
