package s3_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
	"github.com/coulomb/artifact-store/test/servers"
)

// waysToPut are all requests that give an object its class: whole, in parts straight
// to its key, and copied from staging.
var waysToPut = map[string]func([]byte) storage.Source{
	"whole": func(data []byte) storage.Source {
		return storage.Source{Reader: bytes.NewReader(data[:1<<10]), Size: 1 << 10}
	},
	"parts": func(data []byte) storage.Source {
		return storage.Source{Reader: bytes.NewReader(data), Size: int64(len(data)), Want: digest.Of(data)}
	},
	"staged": func(data []byte) storage.Source {
		return storage.Source{Reader: bytes.NewReader(data), Size: storage.UnknownSize}
	},
}

// TestRefusedClass: servers report it in two ways, and the error names the class.
func TestRefusedClass(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"InvalidStorageClass", "InvalidArgument"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodHead: // an existing object would keep its class
				w.WriteHeader(http.StatusNotFound)
			case r.Header.Get("X-Amz-Storage-Class") == "NO_SUCH":
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
			}
		}))
		t.Cleanup(server.Close)
		config := configFor(servers.S3Server{Endpoint: server.URL, Region: "us-east-1", Bucket: "bucket", AccessKey: "anaccesskey", SecretKey: "asecretkey"})
		config.StorageClasses = map[string]string{"cold": "NO_SUCH"}
		b := newBackend(t, config)
		src := waysToPut["whole"](make([]byte, 1<<10))
		src.Tier = "cold"
		_, err := b.Put(t.Context(), src)
		check(t, code, err, storage.ErrClass, storage.ReasonClassRefused, config)
		if err == nil || !strings.Contains(err.Error(), "storage class NO_SUCH") {
			t.Errorf("%s: %v does not name the class", code, err)
		}
	}
}

// TestClassOfATier watches the requests to a real server: staged bytes have no class,
// the blob has the class of the tier.
func TestClassOfATier(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // 8 MiB, above the threshold
	for tier, want := range map[string]string{"hot": "USUAL", "": "USUAL", "cold": "STANDARD_IA"} {
		for way, source := range waysToPut {
			t.Run(way+" "+tier, func(t *testing.T) {
				t.Parallel()
				server := servers.S3(t)
				target, err := url.Parse(server.Endpoint)
				if err != nil {
					t.Fatal(err)
				}
				var mu sync.Mutex
				var asked []string
				proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
					r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
					if r.In.Method == http.MethodPut || (r.In.Method == http.MethodPost && r.In.URL.Query().Has("uploads")) {
						if r.In.URL.Query().Has("partNumber") || strings.Contains(r.In.URL.Path, storage.ProbePrefix) {
							return
						}
						place := "blob"
						if strings.Contains(r.In.URL.Path, storage.StagingPrefix) {
							place = "staging"
						}
						mu.Lock()
						defer mu.Unlock()
						asked = append(asked, place+"="+r.In.Header.Get("X-Amz-Storage-Class"))
					}
				}})
				t.Cleanup(proxy.Close)
				config := configFor(server)
				config.EndpointURL = proxy.URL
				config.StorageClass, config.StorageClasses = "USUAL", map[string]string{"cold": "STANDARD_IA"}
				src := source(data)
				src.Tier = tier
				if _, err := newBackend(t, config).Put(t.Context(), src); err != nil {
					t.Fatal(err)
				}
				expected := []string{"blob=" + want}
				if way == "staged" {
					expected = []string{"staging=", "blob=" + want}
				}
				mu.Lock()
				defer mu.Unlock()
				if !slices.Equal(asked, expected) {
					t.Errorf("asked for %q, want %q", asked, expected)
				}
			})
		}
	}
}

// TestClassOnRGW: Ceph RGW stores a class that it has, and refuses any other.
func TestClassOnRGW(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<19)
	for way, source := range waysToPut {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			server := servers.S3On(t, servers.RGW, false)
			config := configFor(server)
			config.StorageClasses = map[string]string{"warm": "STANDARD_IA", "cold": "NO_SUCH"}
			b := newBackend(t, config)
			refused, ok := probe.Full(t.Context(), probing(t, server, config), false).Refused()
			if !ok || refused.Reason != storage.ReasonClassRefused || !strings.Contains(refused.Message, "NO_SUCH") {
				t.Errorf("the probe says %+v", refused)
			}

			src := source(data)
			src.Tier = "cold"
			_, err := b.Put(t.Context(), src)
			check(t, "an unknown class", err, storage.ErrClass, storage.ReasonClassRefused, config)
			if err == nil || !strings.Contains(err.Error(), "storage class NO_SUCH") {
				t.Errorf("%v does not name the class", err)
			}
			src = source(data)
			src.Tier = "warm"
			info, err := b.Put(t.Context(), src)
			if err != nil {
				t.Fatal(err)
			}
			key := config.KeyPrefix + "/" + storage.Key(info.Digests.SHA256)
			head, err := server.Client().HeadObject(t.Context(), &sdk.HeadObjectInput{Bucket: &server.Bucket, Key: &key})
			if err != nil || head.StorageClass != "STANDARD_IA" {
				t.Errorf("the blob's class is %q, %v", head.StorageClass, err)
			}
			src = source(data)
			if _, err := b.Put(t.Context(), src); err != nil {
				t.Fatal(err)
			}
			head, err = server.Client().HeadObject(t.Context(), &sdk.HeadObjectInput{Bucket: &server.Bucket, Key: &key})
			if err != nil || head.StorageClass != "STANDARD_IA" {
				t.Errorf("put again for another tier, its class is %q, %v", head.StorageClass, err)
			}
			left, err := server.Client().ListMultipartUploads(t.Context(), &sdk.ListMultipartUploadsInput{Bucket: &server.Bucket})
			if err != nil || len(left.Uploads) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
