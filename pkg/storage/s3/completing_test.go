package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/servers"
)

// askings is how often the driver asks to complete an upload that gets no answer.
const askings = 2

// late is a proxy that holds back each Complete of a blob until the driver has
// stopped asking and has then either looked for the upload twice or aborted it: as
// if the server took that long to create the object.
type late struct {
	server servers.S3Server
	free   chan struct{} // closed: Completes get through
	passed chan error    // the result of each

	mu      sync.Mutex
	begun   int // Completes
	looked  int // ListParts, after the last of them
	aborted int // Aborts, before any of them got through
}

func newLate(server servers.S3Server) *late {
	return &late{server: server, free: make(chan struct{}), passed: make(chan error, askings)}
}

// note counts, and releases the Completes when it is time.
func (l *late) note(count *int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun < askings || l.aborted > 0 || l.looked == 2 {
		return
	}
	if *count++; l.aborted > 0 || l.looked == 2 {
		close(l.free)
	}
}

func (l *late) on(_ http.ResponseWriter, r *http.Request) bool {
	switch faultproxy.KindOf(r) {
	case faultproxy.ListParts:
		l.note(&l.looked)
	case faultproxy.CompleteMultipartUpload:
		if !strings.Contains(r.URL.Path, blobKeys) {
			return false
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return false
		}
		l.mu.Lock()
		l.begun++
		l.mu.Unlock()
		<-r.Context().Done() // the caller has stopped waiting
		<-l.free
		l.passed <- l.pass(r, body)
		return true
	}
	return false
}

// after delays the answer to an Abort until the server has done it.
func (l *late) after(answer *http.Response) error {
	if faultproxy.KindOf(answer.Request) == faultproxy.AbortMultipartUpload {
		l.note(&l.aborted)
	}
	return nil
}

// pass forwards the request to the server now.
func (l *late) pass(r *http.Request, body []byte) error {
	target, err := url.Parse(l.server.Endpoint)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), time.Minute)
	defer cancel()
	again := r.Clone(ctx)
	again.URL.Scheme, again.URL.Host, again.RequestURI, again.Body = target.Scheme, target.Host, "", io.NopCloser(bytes.NewReader(body))
	answer, err := http.DefaultTransport.RoundTrip(again)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answered %s", answer.Status)
	}
	return nil
}

// TestStillCompleting: an upload that the server may still be completing, because it
// gave no answer in time, is not aborted. The driver waits and finds out that it
// succeeded.
func TestStillCompleting(t *testing.T) {
	t.Parallel()
	for _, kind := range servers.S3Kinds {
		for _, copied := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/copied %t", kind, copied), func(t *testing.T) {
				t.Parallel()
				server := servers.S3On(t, kind, false)
				l := newLate(server)
				config := between{on: l.on, after: l.after}.config(t, server)
				config.RequestTimeout, config.MultipartThresholdBytes = time.Second, s3.MinMultipartThresholdBytes
				b := open(t, server, config, buffer.New(16<<20, 8<<20))
				data := storagetest.Bytes(41, s3.MinMultipartChunkBytes+1)
				src := source(data)
				if copied {
					s3.CopyInParts(b.Backend, s3.MinMultipartChunkBytes)
					src.Size, src.Want = storage.UnknownSize, digest.Dual{}
				}
				info, err := b.Put(t.Context(), src)
				if err != nil || info.Digests != digest.Of(data) {
					t.Errorf("Put: %v, %v (%s)", info, err, storage.ReasonOf(err))
				}
				l.mu.Lock()
				begun, aborted := l.begun, l.aborted
				l.mu.Unlock()
				if begun != askings || aborted > 0 {
					t.Fatalf("it asked %d times to complete; it aborted an upload that the server was completing: %t", begun, aborted > 0)
				}
				if first, second := <-l.passed, <-l.passed; first != nil && second != nil {
					t.Errorf("neither Complete has worked: %v; %v", first, second)
				}
				if err == nil && !bytes.Equal(read(t, b, storageDigest(data)), data) {
					t.Error("other bytes came back")
				}
				key := storage.Key(storageDigest(data)) // MinIO lists those of an exact key only
				left, err := client(server).ListMultipartUploads(t.Context(), &sdk.ListMultipartUploadsInput{Bucket: &server.Bucket, Prefix: &key})
				if err != nil || len(left.Uploads) > 0 {
					t.Errorf("left behind: %v, %v", left, err)
				}
			})
		}
	}
}
