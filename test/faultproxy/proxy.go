// Package faultproxy stands on loopback between a client and a real server and
// lets chosen things go wrong: a connection is reset, stalls or ends early, a
// bit turns, an answer is replaced or comes in drips.
//
// HTTP reads requests and strikes the one that a Fault names, as it is: what
// was signed reaches the server byte for byte. TCP passes bytes on, of TLS for
// example, and strikes at a number of them.
package faultproxy

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Proxy is running from its making until the test ends. All methods may be
// called concurrently.
type Proxy struct {
	// URL is what to use instead of the server's endpoint.
	URL string

	server   string // host:port
	listener net.Listener
	serve    func(*link)
	ctx      context.Context
	running  sync.WaitGroup

	mu        sync.Mutex
	script    *script
	exchanges []*Exchange
	links     int
}

// script is what Arm was given last.
type script struct{ faults []*armed }

// Exchange is a request that a proxy of HTTP has seen.
type Exchange struct {
	Kind   Kind
	Path   string // of the URL, decoded
	Part   int
	Status int  // that the client got; 0 while or because it got none
	Struck bool // by a fault
}

// HTTP returns a proxy before the server at endpoint, http://host:port.
func HTTP(tb testing.TB, endpoint string) *Proxy { return start(tb, endpoint, (*link).serveHTTP) }

// TCP returns a proxy of bytes before the server at endpoint, http(s)://host:port.
func TCP(tb testing.TB, endpoint string) *Proxy { return start(tb, endpoint, (*link).serveTCP) }

func start(tb testing.TB, endpoint string, serve func(*link)) *Proxy {
	tb.Helper()
	way, err := url.Parse(endpoint)
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Proxy{server: way.Host, listener: listener, serve: serve, ctx: ctx, script: &script{}}
	way.Host = listener.Addr().String()
	p.URL = way.String()
	p.running.Go(p.accept)
	tb.Cleanup(func() {
		stop()
		listener.Close()
		p.running.Wait()
	})
	return p
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.count(1)
		p.running.Go(func() {
			defer p.count(-1)
			l := &link{p: p, client: conn.(*net.TCPConn)}
			var cancel context.CancelFunc
			l.ctx, cancel = context.WithCancel(p.ctx)
			defer cancel()
			// Little fits into the kernel, so that a stall is felt by who sends.
			l.client.SetReadBuffer(64 << 10) //nolint:errcheck // a wish
			p.running.Go(func() { l.watch(cancel) })
			context.AfterFunc(l.ctx, func() { l.client.Close() })
			p.serve(l)
		})
	}
}

func (p *Proxy) count(more int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links += more
}

// Arm replaces the faults and counts anew. No faults: all goes well from here on.
func (p *Proxy) Arm(faults ...Fault) {
	next := &script{}
	for _, fault := range faults {
		next.faults = append(next.faults, &armed{Fault: fault})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script, p.exchanges = next, nil
}

// Struck returns how often a fault struck since Arm.
func (p *Proxy) Struck() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := 0
	for _, fault := range p.script.faults {
		sum += fault.struck
	}
	return sum
}

// Exchanges returns the requests since Arm, in the order in which they came.
func (p *Proxy) Exchanges() []Exchange {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := make([]Exchange, 0, len(p.exchanges))
	for _, exchange := range p.exchanges {
		seen = append(seen, *exchange)
	}
	return seen
}

// Open returns how many connections clients have to the proxy.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.links
}

// begin notes a request and picks its fault, nil for none.
func (p *Proxy) begin(e *Exchange) *strike {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.exchanges = append(p.exchanges, e)
	var found *strike
	for _, fault := range p.script.faults {
		if fault.matches(*e) && fault.strikes() && found == nil {
			found = &strike{Fault: fault.Fault, hit: func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				fault.struck++
				e.Struck = true
			}}
		}
	}
	return found
}

func (p *Proxy) answered(e *Exchange, status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.Status = status
}

// link is one connection of a client. Its context ends when the client is gone.
type link struct {
	p      *Proxy
	ctx    context.Context
	client *net.TCPConn
}

// watch finds out that the client has gone, also while nothing is read from it.
func (l *link) watch(gone func()) {
	defer gone()
	raw, err := l.client.SyscallConn()
	if err != nil {
		return
	}
	for over := false; !over; {
		select {
		case <-l.ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
		err := raw.Control(func(fd uintptr) {
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
			n, err := unix.Poll(poll, 0)
			over = err == nil && n > 0 && poll[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
		})
		over = over || err != nil
	}
}

// dial connects to the server for as long as the client is there.
func (l *link) dial() (*net.TCPConn, error) {
	conn, err := (&net.Dialer{}).DialContext(l.ctx, "tcp", l.p.server)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(l.ctx, func() { conn.Close() })
	return conn.(*net.TCPConn), nil
}

// reset closes with RST.
func reset(conns ...*net.TCPConn) {
	for _, conn := range conns {
		if conn != nil {
			conn.SetLinger(0) //nolint:errcheck // it is gone otherwise
			conn.Close()
		}
	}
}
