package s3_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/servers"
)

// TestWordsOfRefusals: an error names a permission only if one is missing.
func TestWordsOfRefusals(t *testing.T) {
	t.Parallel()
	const missing = "; this needs s3:"
	for body, want := range map[string]string{
		"AccessDenied":       "access is denied" + missing,
		"Forbidden":          "access is denied" + missing,
		"":                   "the answer 403 has no S3 error: it comes from a proxy or gateway before the server",
		"AllAccessDisabled":  "access is disabled",
		"UserSuspended":      "the user is suspended",
		"MethodNotAllowed":   "the verb is not allowed",
		"InvalidObjectState": "the object is archived and must be restored before it can be read",
		"SomethingNew":       "the server answered 403 SomethingNew",
	} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				if body != "" {
					fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", body)
				}
			}))
			t.Cleanup(server.Close)
			b := newBackend(t, configFor(servers.S3Server{Endpoint: server.URL, Region: "us-east-1", Bucket: "bucket", AccessKey: "anaccesskey", SecretKey: "asecretkey"}))
			_, _, get := b.Get(t.Context(), storageDigest([]byte("data")), nil)
			for permission, err := range map[string]error{"ListBucket": b.Health(t.Context()), "GetObject": get} {
				all := want
				if strings.HasSuffix(want, missing) {
					all += permission
				}
				if !errors.Is(err, storage.ErrDenied) || !strings.HasSuffix(fmt.Sprint(err), ": "+all) {
					t.Errorf("%v, want %q", err, all)
				}
			}
		})
	}
}

// TestDeniedHead: the answer to a HEAD has no code.
func TestDeniedHead(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		io.WriteString(w, "<ListBucketResult><Name>bucket</Name></ListBucketResult>")
	}))
	t.Cleanup(server.Close)
	b := newBackend(t, configFor(servers.S3Server{Endpoint: server.URL, Region: "us-east-1", Bucket: "bucket", AccessKey: "anaccesskey", SecretKey: "asecretkey"}))
	if _, err := b.Head(t.Context(), storageDigest([]byte("data"))); !errors.Is(err, storage.ErrDenied) || !strings.HasSuffix(fmt.Sprint(err), ": access is denied; this needs s3:GetObject") {
		t.Error(err)
	}
}

// TestSuspendedUser: Ceph RGW reports a suspended user, whom no permission would help.
func TestSuspendedUser(t *testing.T) {
	t.Parallel()
	server := servers.S3On(t, servers.RGW, false)
	server.AccessKey, server.SecretKey = "suspended"+server.Bucket, "suspendedsecretkey"
	servers.RGWAdmin(t, "user", "create", "--uid="+server.AccessKey, "--display-name=suspended", "--access-key="+server.AccessKey, "--secret-key="+server.SecretKey)
	servers.RGWAdmin(t, "user", "suspend", "--uid="+server.AccessKey)
	config := configFor(server)
	err := newBackend(t, config).Health(t.Context())
	check(t, "Health", err, storage.ErrDenied, storage.ReasonAccessDenied, config)
	if !strings.HasSuffix(fmt.Sprint(err), ": the user is suspended") {
		t.Error(err)
	}
}
