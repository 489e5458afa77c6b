package database

import (
	"runtime"
	"sync"
)

// queue runs batches of T one after the other, in order of arrival, on a goroutine that
// exists only while there is work. Items that arrive during a batch join the next one.
type queue[T any] struct {
	run func([]T)
	max int

	mu      sync.Mutex
	idle    sync.Cond // of mu: running became false
	waiting []T
	running bool
	closed  bool
}

// newQueue returns a queue; run gets 1 to max items, and is never called concurrently.
func newQueue[T any](max int, run func([]T)) *queue[T] {
	q := &queue[T]{run: run, max: max}
	q.idle.L = &q.mu
	return q
}

// add queues an item and returns immediately. run reports the result to the caller
// through the item. ErrClosed.
func (q *queue[T]) add(item T) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	q.waiting = append(q.waiting, item)
	if !q.running {
		q.running = true
		go q.drain()
	}
	return nil
}

func (q *queue[T]) drain() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) > 0 {
		// Whoever is about to add an item does so first: the larger a batch, the less each costs.
		q.mu.Unlock()
		runtime.Gosched()
		q.mu.Lock()
		n := min(len(q.waiting), q.max)
		batch := q.waiting[:n:n]
		q.waiting = q.waiting[n:]
		q.mu.Unlock()
		q.run(batch)
		clear(batch) // the backing array outlives the batch
		q.mu.Lock()
	}
	q.waiting = nil
	q.running = false
	q.idle.Broadcast()
}

// close refuses further items and waits for those accepted before.
func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for q.running {
		q.idle.Wait()
	}
}
