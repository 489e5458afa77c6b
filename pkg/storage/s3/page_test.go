package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/servers"
)

const page = "<?xml version=\"1.0\"?>\n<html><head><title>Maintenance</title></head><body><p>back soon</p></body></html>"

// pageBefore returns a backend behind a proxy that answers requests of a kind, or all of
// "*", with a page instead of passing them on.
func pageBefore(t *testing.T) (b *s3.Backend, answer func(kind faultproxy.Kind)) {
	t.Helper()
	server := servers.S3On(t, servers.VersityGW, false)
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var which atomic.Value
	on := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if kind, _ := which.Load().(faultproxy.Kind); kind != "*" && kind != faultproxy.KindOf(r) {
			on.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body) // the client sees what comes of it
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, page)
	}))
	t.Cleanup(front.Close)
	config := configFor(server)
	config.EndpointURL = front.URL
	return newBackend(t, config), func(kind faultproxy.Kind) { which.Store(kind) }
}

// TestPage: a proxy answers with 200 and a page. Nothing counts as stored that nobody
// has, and the page is no blob and no marker.
func TestPage(t *testing.T) {
	t.Parallel()
	b, answer := pageBefore(t)
	is := func(what string, err error) {
		t.Helper()
		if found := (*storage.PlaceError)(nil); !errors.As(err, &found) || found.Reason != storage.ReasonNotS3 || !errors.Is(err, storage.ErrUnreachable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	small, large := storagetest.Bytes(71, 1000), storagetest.Bytes(72, threshold+1000)
	put := func(data []byte, known bool) error {
		src := storage.Source{Reader: bytes.NewReader(data), Size: int64(len(data)), Want: digest.Of(data)}
		if !known {
			src.Size, src.Want = storage.UnknownSize, digest.Dual{}
		}
		_, err := b.Put(t.Context(), src)
		return err
	}
	for _, kind := range []faultproxy.Kind{"*", faultproxy.PutObject} {
		answer(kind)
		is("put", put(small, true))
	}
	for kind, known := range map[faultproxy.Kind]bool{
		faultproxy.CreateMultipartUpload: true, faultproxy.UploadPart: true, faultproxy.CompleteMultipartUpload: true, faultproxy.CopyObject: false,
	} {
		answer(kind)
		is(string(kind), put(large, known))
	}
	answer("*")
	_, err := b.Head(t.Context(), storageDigest(small))
	is("head", err)
	_, _, err = b.Get(t.Context(), storageDigest(small), nil)
	is("get", err)
	_, err = b.ReadMarker(t.Context())
	is("reading the marker", err)
	_, err = b.CreateMarker(t.Context(), []byte("{}"))
	is("creating the marker", err)
	lists := func(what string, all iter.Seq2[storage.Orphan, error]) {
		t.Helper()
		for _, err := range all {
			is(what, err)
			return
		}
		t.Errorf("%s: nothing", what)
	}
	lists("leftovers", b.Orphans(t.Context()))
	lists("blobs", func(yield func(storage.Orphan, error) bool) {
		for _, err := range b.List(t.Context()) {
			if !yield(storage.Orphan{}, err) {
				return
			}
		}
	})
	answer("")
	if err := put(small, true); err != nil {
		t.Error(err)
	}
}

// TestGatewayRefusals: what a gateway before the server answers is not told as the server's word.
func TestGatewayRefusals(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{
		301: ", and leads to https://objects.example.com", 302: ", and leads to https://objects.example.com",
		303: ", and leads to https://objects.example.com", 307: ", and leads to https://objects.example.com",
		308: ", and leads to https://objects.example.com", 400: "", 413: ", which takes no body of this size",
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if status < 400 {
					w.Header().Set("Location", "https://objects.example.com/bucket?secret=1")
				}
				w.Header().Set("Server", "nginx")
				w.WriteHeader(status)
				_, _ = io.WriteString(w, page)
			}))
			t.Cleanup(server.Close)
			b := newBackend(t, configFor(servers.S3Server{Endpoint: server.URL, Region: "us-east-1", Bucket: "bucket", AccessKey: "anaccesskey", SecretKey: "asecretkey"}))
			err := b.Health(t.Context())
			found := (*storage.PlaceError)(nil)
			all := fmt.Sprintf(": the answer %d has no S3 error: it comes from a proxy or gateway before the server (nginx)%s", status, want)
			if !errors.As(err, &found) || found.Reason != storage.ReasonNotS3 || !strings.HasSuffix(err.Error(), all) {
				t.Errorf("%v\nwant %s", err, all)
			}
		})
	}
}
