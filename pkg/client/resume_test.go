package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/registrytest"
	"github.com/coulomb/artifact-store/test/faultproxy"
)

// resumeWorld is a registry behind whatever is between.
type resumeWorld struct {
	t       *testing.T
	client  *client.Client
	session string
	content []byte
	digests digest.Dual
}

func newResumeWorld(t *testing.T, size int, between func(endpoint string) string) *resumeWorld {
	t.Helper()
	fixture := registrytest.OpenService(t, "")
	endpoint := "http://" + serve(t, server.NewHandler(fixture.Registry, server.Options{Logger: quiet()}))
	w := &resumeWorld{t: t, content: make([]byte, size)}
	_, _ = rand.NewChaCha8([32]byte{7}).Read(w.content)
	w.digests = digest.Of(w.content)
	w.client = patientClient(t, between(endpoint), client.Options{Patience: w.patience()})
	upload, err := w.client.OpenUpload(t.Context(), registry.OpenUpload{PackageRef: registry.PackageRef{Producer: "p", Name: "n", Version: "1"}, RetentionClass: "none"})
	if err != nil {
		t.Fatal(err)
	}
	w.session = upload.ID
	length := int64(size)
	if _, err := w.client.DeclareFiles(t.Context(), w.session, []registry.FileDeclaration{{Path: "f", Size: &length, Digests: w.digests}}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *resumeWorld) patience() client.Patience { return client.Patience{For: impatience} }

func (w *resumeWorld) file() client.LargeFile {
	return client.LargeFile{
		Path: "f", Size: int64(len(w.content)), Digests: w.digests,
		Open: func(offset int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(w.content[offset:])), nil
		},
	}
}

func (w *resumeWorld) send(ctx context.Context, file client.LargeFile) error {
	return client.SendFile(ctx, w.client, w.patience(), w.session, file)
}

// read publishes and reads the file back.
func (w *resumeWorld) read() {
	w.t.Helper()
	if _, err := w.client.Publish(w.t.Context(), w.session, nil); err != nil {
		w.t.Fatal(err)
	}
	body := client.ReadBlob(w.t.Context(), w.client, w.patience(), w.digests.SHA256, 0, int64(len(w.content)))
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, w.content) {
		w.t.Errorf("%d of %d bytes, %v", len(got), len(w.content), err)
	}
}

// TestSendFileGoesOn: a file goes on where its connection broke, and nearly nothing is sent twice.
func TestSendFileGoesOn(t *testing.T) {
	t.Parallel()
	const size, cuts = 24 << 20, 4
	var proxy *faultproxy.Cutter
	w := newResumeWorld(t, size, func(endpoint string) string {
		proxy = faultproxy.Cutting(t, endpoint)
		return proxy.URL
	})
	proxy.Arm(faultproxy.InRequest, 1<<20, 7<<20, 12<<20, 23<<20)
	var last int64
	file := w.file()
	file.Kept = func(offset int64) { last = offset }
	if err := w.send(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if sent := proxy.Passed(faultproxy.InRequest); proxy.Cuts() != cuts || sent > size*105/100+cuts<<20/4 || last != size {
		t.Errorf("%d cuts, %d bytes were sent for %d, %d are kept", proxy.Cuts(), sent, size, last)
	}
	if err := w.send(t.Context(), w.file()); err != nil {
		t.Errorf("again: %v", err)
	}
	proxy.Arm(faultproxy.InAnswer, 2<<20, 9<<20, 20<<20)
	w.read()
	if read := proxy.Passed(faultproxy.InAnswer); proxy.Cuts() != 3 || read > size*105/100 {
		t.Errorf("%d cuts, %d bytes were read for %d", proxy.Cuts(), read, size)
	}
}

// TestSendFileInAnotherRun: what one program began another one ends.
func TestSendFileInAnotherRun(t *testing.T) {
	t.Parallel()
	w := newResumeWorld(t, 20<<20, func(endpoint string) string { return endpoint })
	ctx, stop := context.WithCancel(t.Context())
	file := w.file()
	file.Open = func(offset int64) (io.ReadCloser, error) {
		rest := io.MultiReader(bytes.NewReader(w.content[offset:15<<20]), readerFunc(func([]byte) (int, error) {
			stop()
			<-ctx.Done()
			return 0, ctx.Err()
		}))
		return io.NopCloser(rest), nil
	}
	if err := w.send(ctx, file); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	var begun []int64
	file = w.file()
	open := file.Open
	file.Open = func(offset int64) (io.ReadCloser, error) {
		begun = append(begun, offset)
		return open(offset)
	}
	if err := w.send(t.Context(), file); err != nil || len(begun) != 1 || begun[0] < 8<<20 {
		t.Errorf("it went on at %d: %v", begun, err)
	}
	w.read()
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestSendFileThroughALimit: a proxy that refuses large bodies gets small ones.
func TestSendFileThroughALimit(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	var refused atomic.Int32
	w := newResumeWorld(t, 5<<20+1, func(endpoint string) string {
		proxy := httptest.NewServer(limiting(t, endpoint, limit, &refused))
		t.Cleanup(proxy.Close)
		return proxy.URL
	})
	var pieces []int64
	file := w.file()
	file.Pieces = func(size int64) { pieces = append(pieces, size) }
	if err := w.send(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if len(pieces) == 0 || pieces[len(pieces)-1] != limit || refused.Load() == 0 {
		t.Errorf("pieces of %d, %d refusals", pieces, refused.Load())
	}
	w.read()
}

// TestSendFileGivesUp: a registry's own limit is final, and so are other bytes.
func TestSendFileGivesUp(t *testing.T) {
	t.Parallel()
	w := newResumeWorld(t, 3<<20, func(endpoint string) string { return endpoint })
	file := w.file()
	file.Open = func(offset int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(bytes.Repeat([]byte("x"), len(w.content))[offset:])), nil
	}
	if err := w.send(t.Context(), file); !errors.Is(err, client.ErrMismatch) {
		t.Errorf("other bytes: %v", err)
	}
	if err := w.send(t.Context(), w.file()); err != nil {
		t.Errorf("the right bytes after them: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	unknown := w.file()
	unknown.Path = "unknown"
	if err := w.send(ctx, unknown); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("an undeclared file: %v", err)
	}
}

// limiting is a proxy as nginx with client_max_body_size.
func limiting(t *testing.T, endpoint string, limit int64, refused *atomic.Int32) http.Handler {
	t.Helper()
	return faultproxy.Limiting(t, endpoint, limit, func() { refused.Add(1) })
}
