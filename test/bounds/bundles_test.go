package bounds

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/test/size"
)

// TestSteadyBundlesGiveWay: bundles of two holders that bring their files steadily,
// but slowly, have all windows, and a third holder's turn comes.
func TestSteadyBundlesGiveWay(t *testing.T) {
	w := newFolderWorld(t)
	const bundles, rate = 16, 8 << 10 // bytes per second
	for i := range bundles {
		upload, err := open(t.Context(), w.crowd, "crowd", fmt.Sprint(i), nil)
		w.must(err)
		connection, err := net.Dial("tcp", strings.TrimPrefix(w.manager.URL, "http://"))
		w.must(err)
		t.Cleanup(func() { connection.Close() }) //nolint:errcheck // a test's
		content, length := archive(i, 40, 200<<10), rate
		if i%4 > 1 { // of each holder half
			content, length = archive(i, 1000, 3<<10), 5*rate
		}
		go func() {
			fmt.Fprintf(connection, "POST /v1/uploads/%s/bundle HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-tar\r\nContent-Length: 100000000\r\n\r\n", //nolint:errcheck // it may lose its turn
				upload.ID, []string{"crowd-crowd-crowd-crowd", "crowd-2-crowd-2-crowd-2-crowd-2"}[i%2])
			for {
				if _, err := io.CopyN(connection, content, int64(length)); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
	}
	time.Sleep(3 * time.Second) // they have all windows
	session, err := open(t.Context(), w.other, "other", "1", nil)
	w.must(err)
	for range size.Of(1, 5) {
		began := time.Now()
		request, err := http.NewRequest(http.MethodPost, w.manager.URL+"/v1/uploads/"+session.ID+"/bundle", archive(1, 5, 10_000))
		w.must(err)
		request.Header.Set("Authorization", "Bearer other-other-other-other")
		request.Header.Set("Content-Type", "application/x-tar")
		answer, err := (&http.Client{Timeout: time.Minute}).Do(request)
		w.must(err)
		answer.Body.Close() //nolint:errcheck // a test's
		if took := time.Since(began); answer.StatusCode != http.StatusOK || took > patience {
			t.Errorf("another holder's bundle: %s after %v", answer.Status, took)
		}
	}
}
