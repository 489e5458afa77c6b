package observetest

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// Cable forwards connections until it is cut; while it is, new ones are closed at once.
type Cable struct {
	listener net.Listener
	mu       sync.Mutex
	cut      bool
	open     map[net.Conn]struct{}
	dead     []time.Time // when connections were made while it was cut
	running  sync.WaitGroup
}

// NewCable leads to the target, host and port, for the length of a test.
func NewCable(t *testing.T, target string) *Cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cable{listener: listener, open: map[net.Conn]struct{}{}}
	c.running.Go(func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			if c.cut {
				c.dead = append(c.dead, time.Now())
			}
			c.mu.Unlock()
			out, err := net.Dial("tcp", target)
			if err != nil || !c.hold(in, out) {
				in.Close()
				if out != nil {
					out.Close()
				}
				continue
			}
			for _, ends := range [][2]net.Conn{{in, out}, {out, in}} {
				c.running.Go(func() {
					io.Copy(ends[0], ends[1]) //nolint:errcheck // the other end sees it
					c.release(ends[0], ends[1])
				})
			}
		}
	})
	t.Cleanup(func() {
		listener.Close()
		c.Set(true)
		c.running.Wait()
	})
	return c
}

// Address is where it takes connections.
func (c *Cable) Address() string { return c.listener.Addr().String() }

func (c *Cable) hold(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		if !c.cut {
			c.open[conn] = struct{}{}
		}
	}
	return !c.cut
}

func (c *Cable) release(conns ...net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		conn.Close()
		delete(c.open, conn)
	}
}

// Tried is when connections were made while it was cut, in order.
func (c *Cable) Tried() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.dead)
}

// Set cuts or mends the cable.
func (c *Cable) Set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	for conn := range c.open {
		if cut {
			conn.Close()
		}
	}
}
