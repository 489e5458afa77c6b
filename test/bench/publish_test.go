package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coulomb/artifact-store/pkg/digest"
)

// smallFile is the size of a small file in bytes.
const smallFile = 4 << 10

// BenchmarkPublishAlone publishes one small file after the other: what a producer waits for.
func BenchmarkPublishAlone(b *testing.B) {
	manager, _, _ := localRegistry(b)
	registry := byHTTP{manager.URL, newHTTPClient()}
	for range b.N {
		milliseconds(b, "publish a file of 4 KiB to local with SQLite, by one client", 100, func(round int) time.Duration {
			began := time.Now()
			if err := registry.publish(b.Context(), fmt.Sprintf("alone-%d", round), small("alone", round)); err != nil {
				b.Fatal(err)
			}
			return time.Since(began)
		})
	}
}

// byHTTP asks a registry of any version by the documented addresses, without the Go client.
type byHTTP struct {
	url    string
	client *http.Client
}

// newHTTPClient keeps a connection for each of the clients that a benchmark has at once.
func newHTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
}

// do wants a success and reads the answer into a value, unless that is nil. A size of 0 means no body.
func (r byHTTP) do(ctx context.Context, method, path, mediaType string, body io.Reader, size int64, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, r.url+path, body)
	if err != nil {
		return err
	}
	request.ContentLength = size
	if mediaType != "" {
		request.Header.Set("Content-Type", mediaType)
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it is read to its end
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

// open begins an upload and returns its address.
func (r byHTTP) open(ctx context.Context, name string) (path string, err error) {
	var session struct{ ID string }
	terms := fmt.Sprintf(`{"producer":"bench","name":%q,"version":"1","retentionClass":"none"}`, name)
	err = r.do(ctx, http.MethodPost, "/v1/uploads", "application/json", strings.NewReader(terms), int64(len(terms)), &session)
	return "/v1/uploads/" + session.ID, err
}

// put sends a file of an upload and returns its SHA-256.
func (r byHTTP) put(ctx context.Context, upload, path string, body io.Reader, size int64) (digest.Digest, error) {
	var file struct{ Digests digest.Dual }
	err := r.do(ctx, http.MethodPut, upload+"/files/"+path, "application/octet-stream", body, size, &file)
	return file.Digests.SHA256, err
}

func (r byHTTP) seal(ctx context.Context, upload string) error {
	return r.do(ctx, http.MethodPost, upload+"/publish", "", http.NoBody, 0, nil)
}

// publish publishes a package of one file.
func (r byHTTP) publish(ctx context.Context, name string, content []byte) error {
	upload, err := r.open(ctx, name)
	if err != nil {
		return err
	}
	if _, err := r.put(ctx, upload, "file", bytes.NewReader(content), int64(len(content))); err != nil {
		return err
	}
	return r.seal(ctx, upload)
}

// small is the content of a small file that no other has.
func small(name string, number int) []byte {
	content := bytes.Repeat([]byte("0123456789abcdef"), smallFile/16)
	copy(content, fmt.Sprintf("%s %d ", name, number))
	return content
}
