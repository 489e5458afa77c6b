package s3

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
)

// TestSessionsAreTakenUp: another connection of the same backend resumes the TLS
// session, and so does its probe, which shares the connection while it is open.
// Another backend does not, because it may trust other certificates.
func TestSessionsAreTakenUp(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var resumed []bool
	var from []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		resumed, from = append(resumed, r.TLS.DidResume), append(from, r.RemoteAddr)
		w.Header().Set("Content-Type", "application/xml")
		w.Write([]byte("<ListBucketResult><Name>bbb</Name></ListBucketResult>")) //nolint:errcheck // the client tells
	}))
	defer server.Close()
	config := Config{
		EndpointURL: server.URL, Bucket: "bbb", AccessKey: storage.NewSecret("a"), SecretKey: storage.NewSecret("s"),
		CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
	}
	open := func() *Backend {
		b, err := New(config, buffer.Default())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	}
	first := open()
	health := func(b *Backend) {
		t.Helper()
		if err := b.Health(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	health(first)
	health(first.ForProbe(buffer.New(1<<10, 1<<10)))
	first.Close()
	health(first)
	health(open())
	if want := []bool{false, false, true, false}; !slices.Equal(resumed, want) {
		t.Errorf("resumed %v, want %v", resumed, want)
	}
	if from[0] != from[1] || from[1] == from[2] {
		t.Errorf("connections from %v: want the probe by the first, and another after that was closed", from)
	}
}
