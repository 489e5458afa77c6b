package bounds

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// TestUnreadAnswersAreBounded: hundreds of connections of one holder ask for the
// largest pages and read none of them. What that takes does not depend on their
// number, and another holder is answered.
func TestUnreadAnswersAreBounded(t *testing.T) {
	w := newFolderWorld(t)
	w.publish(w.other, "other", "small", nil, []byte("small"))
	for i := range 4 {
		w.publish(w.crowd, "crowd", fmt.Sprint("annotated-", i), annotations(), []byte("1"))
	}
	w.resetPeak()
	const connections, asked = 700, 20 // each more than the kernel holds
	var asking sync.WaitGroup
	for range connections {
		connection, err := net.Dial("tcp", strings.TrimPrefix(w.manager.URL, "http://"))
		w.must(err)
		t.Cleanup(func() { connection.Close() }) //nolint:errcheck // a test's
		asking.Go(func() {
			_, err := io.WriteString(connection, strings.Repeat("GET /v1/packages?producer=crowd&limit=1000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer crowd-crowd-crowd-crowd\r\n\r\n", asked))
			if err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	longest := time.Duration(0)
	for range 10 {
		began := time.Now()
		_, err := w.other.GetPackage(t.Context(), registry.PackageRef{Producer: "other", Name: "n", Version: "small"})
		w.must(err)
		_, err = w.other.ReadEvents(t.Context(), registry.EventQuery{Limit: 10})
		w.must(err)
		longest = max(longest, time.Since(began))
		time.Sleep(time.Second)
	}
	t.Logf("peak %d MiB; another holder waited up to %.2f s", w.peak()/mebibyte, longest.Seconds())
	if w.peak() > bufferBytes+besides {
		t.Errorf("the manager took %d MiB, may take %d", w.peak()/mebibyte, (bufferBytes+besides)/mebibyte)
	}
	if longest > patience {
		t.Errorf("another holder waited %v for an answer", longest)
	}
}
