package controllers

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/coulomb/artifact-store/test/servers"
)

// The real parts that tests of this package share: an API server with the
// generated CRDs, started by the first test that needs it and ended by TestMain.
var plane struct {
	sync.Once
	env    envtest.Environment
	config *rest.Config
	err    error
	users  sync.Mutex
}

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard()) // each manager has a logger of its own
	code := m.Run()
	if plane.config != nil {
		if err := plane.env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the control plane:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// controlPlane returns how to reach the shared API server.
func controlPlane(t *testing.T) *rest.Config {
	t.Helper()
	plane.Do(func() {
		plane.env = envtest.Environment{
			BinaryAssetsDirectory: servers.ControlPlaneAssets(t),
			CRDDirectoryPaths:     []string{filepath.Join("..", "config", "crd")},
			ErrorIfCRDPathMissing: true,
		}
		plane.config, plane.err = plane.env.Start()
	})
	if plane.err != nil {
		t.Fatal(plane.err)
	}
	return rest.CopyConfig(plane.config)
}

// cutConfig is controlPlane through a cable that can be cut.
func cutConfig(t *testing.T) (*rest.Config, *cable) {
	t.Helper()
	config := controlPlane(t)
	c := newCable(t, strings.Trim(strings.TrimPrefix(config.Host, "https://"), "/"))
	config.TLSClientConfig.ServerName = "127.0.0.1"
	config.Host = "https://" + c.listener.Addr().String()
	return config, c
}

// cable forwards connections until it is cut; while it is, new ones are closed at once.
type cable struct {
	listener net.Listener
	mu       sync.Mutex
	cut      bool
	open     map[net.Conn]struct{}
	dead     int // connections that were made while it was cut
	running  sync.WaitGroup
}

func newCable(t *testing.T, target string) *cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{listener: listener, open: map[net.Conn]struct{}{}}
	c.running.Go(func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			if c.cut {
				c.dead++
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
		c.set(true)
		c.running.Wait()
	})
	return c
}

func (c *cable) hold(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		if !c.cut {
			c.open[conn] = struct{}{}
		}
	}
	return !c.cut
}

func (c *cable) release(conns ...net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		conn.Close()
		delete(c.open, conn)
	}
}

// tried is how many connections were made while it was cut.
func (c *cable) tried() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// set cuts or mends the cable.
func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	for conn := range c.open {
		if cut {
			conn.Close()
		}
	}
}
