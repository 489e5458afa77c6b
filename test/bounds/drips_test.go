package bounds

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/registry"
)

// TestDripsKeepNobodyFromABucket: uploads to S3 that stop within what needs a large
// buffer lose it when others wait, and another holder's push goes through.
func TestDripsKeepNobodyFromABucket(t *testing.T) {
	t.Parallel()
	w := newBucketWorld(t, "--buffer-bytes", fmt.Sprint(16*mebibyte)) // two buffers
	upload, err := open(t.Context(), w.crowd, "crowd", "1", nil)
	w.must(err)
	const drips, announced = 14, 20 << 20
	var begun, ended sync.WaitGroup
	statuses, stop := make(chan int, 2*drips), make(chan struct{})
	for i := range 2 * drips {
		token := []string{"crowd-crowd-crowd-crowd", "crowd-2-crowd-2-crowd-2-crowd-2"}[i%2]
		connection, err := net.Dial("tcp", strings.TrimPrefix(w.manager.URL, "http://"))
		w.must(err)
		defer connection.Close() //nolint:errcheck // a test's
		begun.Add(1)
		ended.Go(func() {
			_, err := fmt.Fprintf(connection, "PUT /v1/uploads/%s/files/f%d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
				upload.ID, i, token, announced, strings.Repeat("x", 100<<10))
			begun.Done()
			if err != nil {
				t.Error(err)
				return
			}
			over := make(chan struct{})
			go func() {
				defer close(over)
				if answer, err := http.ReadResponse(bufio.NewReader(connection), nil); err == nil {
					statuses <- answer.StatusCode
				}
			}()
			for {
				select {
				case <-over:
					return
				case <-stop:
					connection.Close() //nolint:errcheck // a test's
					<-over
					return
				case <-time.After(500 * time.Millisecond):
				}
				if _, err := connection.Write([]byte("x")); err != nil {
					<-over
					return
				}
			}
		})
	}
	begun.Wait()
	time.Sleep(500 * time.Millisecond) // they have what they get
	began := time.Now()
	session, err := open(t.Context(), w.other, "other", "1", nil)
	w.must(err)
	content := bytes.Repeat([]byte("y"), 1<<20)
	_, err = w.other.PutFile(t.Context(), session.ID, "f", registry.Content{Reader: bytes.NewReader(content), Size: int64(len(content))})
	w.must(err)
	_, err = w.other.Publish(t.Context(), session.ID, nil)
	w.must(err)
	took := time.Since(began)
	t.Logf("another holder's push took %.2f s", took.Seconds())
	if took > patience {
		t.Errorf("another holder's push took %v", took)
	}
	select {
	case status := <-statuses:
		if status != http.StatusRequestTimeout {
			t.Errorf("a drip that is too slow was told %d", status)
		}
	case <-time.After(patience):
		t.Error("no drip was told that it is too slow")
	}
	close(stop)
	ended.Wait()
}
