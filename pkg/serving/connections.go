package serving

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// Connections limits how many connections a server has at a time. At the limit
// the one that has been idle longest is closed for the next; if none is idle,
// the next waits. One that answers a request without a token counts as idle: its
// client may never read the answer. Safe for concurrent use.
type Connections struct {
	most int

	mu   sync.Mutex
	open map[net.Conn]time.Time // since when it may be closed for another one, zero while it may not
	news chan struct{}          // closed and replaced when one is closed, or idle
}

// NewConnections returns one with that limit.
func NewConnections(most int) *Connections {
	return &Connections{most: most, open: map[net.Conn]time.Time{}, news: make(chan struct{})}
}

// Limit has the server accept no more from the listener than the limit.
func (c *Connections) Limit(server *http.Server, listener net.Listener) net.Listener {
	server.ConnState = c.note
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, connectionKey{}, func() { c.note(conn, http.StateNew) })
	}
	return &limited{Listener: listener, to: c, closed: make(chan struct{})}
}

// Crowded reports whether nine tenths of the limit are reached.
func (c *Connections) Crowded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open) >= c.most-c.most/10
}

// OfOneHolder is how many of them one holder's requests may have at a time: three quarters.
func (c *Connections) OfOneHolder() int { return c.most - c.most/4 }

type connectionKey struct{}

// expendable says that the request of this context needs no token, or has none: its
// connection is from now on as one that has said nothing yet.
func expendable(ctx context.Context) {
	if note, limited := ctx.Value(connectionKey{}).(func()); limited {
		note()
	}
}

// silence is how long a new connection may be silent before it counts as idle.
const silence = time.Second

// note is told by net/http what a connection does.
func (c *Connections) note(conn net.Conn, state http.ConnState) {
	if secure, is := conn.(*tls.Conn); is {
		conn = secure.NetConn()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.open[conn]; !known {
		return
	}
	switch state {
	case http.StateNew:
		c.open[conn] = time.Now().Add(silence)
	case http.StateIdle:
		c.open[conn] = time.Now()
	default:
		c.open[conn] = time.Time{}
		return
	}
	c.tell()
}

// tell wakes those who wait. mu is held.
func (c *Connections) tell() {
	close(c.news)
	c.news = make(chan struct{})
}

// admit makes room for a connection. If there is none, it returns a channel that
// is closed when there may be, and when to look again at the latest.
func (c *Connections) admit(conn net.Conn) (ok bool, news <-chan struct{}, again time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.most {
		now := time.Now()
		var longest net.Conn
		var since time.Time
		for one, idle := range c.open {
			if !idle.IsZero() && (longest == nil || idle.Before(since)) {
				longest, since = one, idle
			}
		}
		if longest == nil {
			return false, c.news, time.Minute
		}
		if since.After(now) {
			return false, c.news, since.Sub(now)
		}
		delete(c.open, longest)
		longest.(*counted).Conn.Close() //nolint:errcheck // it is gone either way
	}
	c.open[conn] = time.Time{}
	return true, nil, 0
}

func (c *Connections) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
	c.tell()
}

type limited struct {
	net.Listener
	to     *Connections
	once   sync.Once
	closed chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	one := &counted{Conn: conn, to: l.to}
	for {
		ok, news, again := l.to.admit(one)
		if ok {
			return one, nil
		}
		look := time.NewTimer(again)
		select {
		case <-news:
		case <-look.C:
		case <-l.closed:
			look.Stop()
			conn.Close() //nolint:errcheck // nothing was read of it
			return nil, net.ErrClosed
		}
		look.Stop()
	}
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn
	to   *Connections
	once sync.Once
}

func (c *counted) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.to.remove(c) })
	return err
}
