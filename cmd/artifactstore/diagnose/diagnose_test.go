package diagnose

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/cmd/artifactstore/credentials"
	"github.com/coulomb/artifact-store/pkg/client"
)

// TestWords of what cannot be had from a server of this machine; testdata/places has the rest.
func TestWords(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	place := Place{Server: "http://registry.example.com", From: "from --server", TokenFrom: "from the context a", Renew: "artifactstore login --context a", Now: func() time.Time { return now }}
	asked := func(err error) error {
		return fmt.Errorf("calling the registry: %w", &url.Error{Op: "Get", URL: "http://registry.example.com/v1/packages", Err: err})
	}
	dial := func(err error) error { return asked(&net.OpError{Op: "dial", Net: "tcp", Err: err}) }
	expired := place
	expired.Token = &credentials.Times{Expires: now.Add(-49 * time.Hour)}
	fresh := place
	fresh.Token = &credentials.Times{Begins: now.Add(-time.Hour), Expires: now.Add(time.Hour)}
	unauthorized := &client.RemoteError{Status: 401, Type: "x", Title: "Authentication failed"}
	late := &client.RemoteError{Status: 401, Type: "x", Title: "Authentication failed", Date: now.Add(time.Hour)}
	for name, test := range map[string]struct {
		place Place
		err   error
		want  string
	}{
		"no such host":     {place, dial(&net.DNSError{Err: "no such host", Name: "registry.example.com", IsNotFound: true}), "there is no host registry.example.com: check the address http://registry.example.com (from --server)"},
		"no names now":     {place, dial(&net.DNSError{Err: "server misbehaving", Name: "registry.example.com", IsTemporary: true}), "the host registry.example.com of http://registry.example.com (from --server) cannot be looked up now: server misbehaving"},
		"refused":          {place, dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), "nobody listens at registry.example.com:80 (from --server): start the registry, or name another with --server or artifactstore login: connection refused"},
		"no answer":        {place, dial(context.DeadlineExceeded), "registry.example.com:80 (from --server) does not answer: timeout; the host may be down, or a firewall in between"},
		"no way":           {place, dial(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), "registry.example.com:80 (from --server) cannot be reached: connect: no route to host"},
		"a proxy":          {place, asked(&client.ProxyError{Proxy: "http://proxy:3128", Status: 403}), "the proxy http://proxy:3128 answered 403: Forbidden, asked for http://registry.example.com (from --server): NO_PROXY=registry.example.com goes around it"},
		"an expired token": {expired, unauthorized, "the token (from the context a) expired at 2025-12-31T02:04:05Z, 2 days ago: artifactstore login --context a gets another: the registry answered 401: Authentication failed"},
		"another clock":    {fresh, late, "the clocks of this machine (2026-01-02T03:04:05Z) and of the registry (2026-01-02T04:04:05Z) differ, so that the token (from the context a) may not be valid there: the registry answered 401: Authentication failed"},
		"a wrong token":    {fresh, unauthorized, "http://registry.example.com (from --server) does not accept the token (from the context a): artifactstore login --context a gets another: the registry answered 401: Authentication failed"},
		"a scheme":         {place, asked(http.ErrSchemeMismatch), "http://registry.example.com (from --server) speaks http: use http://registry.example.com"},
	} {
		got := Explain(t.Context(), test.err, test.place)
		if got.Error() != test.want {
			t.Errorf("%s: got\n%v\nwant\n%s", name, got, test.want)
		}
		if !errors.Is(got, test.err) {
			t.Errorf("%s: it is another error", name)
		}
	}
	for name, err := range map[string]error{
		"none": nil, "interrupted": asked(context.Canceled), "a file": os.ErrNotExist, "a problem": &client.RemoteError{Status: 404, Type: "x"},
		"a bucket": &url.Error{Op: "Get", URL: "http://bucket.example.com/", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}},
	} {
		if got := Explain(t.Context(), err, place); !errors.Is(got, err) || err != nil && strings.Contains(got.Error(), "nobody") {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
