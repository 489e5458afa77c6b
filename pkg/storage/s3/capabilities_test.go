package s3_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/test/servers"
)

// probing is a backend below the probe prefix, as a health check uses it.
func probing(t *testing.T, server servers.S3Server, config s3.Config) *placed {
	t.Helper()
	b := open(t, server, config.ForProbe(), buffer.New(16<<10, 16<<10))
	t.Cleanup(func() { b.Close() })
	return b
}

// told returns name=Status of each result.
func told(r probe.FullReport) string {
	var all []string
	for _, one := range r.Results {
		all = append(all, one.Name+"="+string(one.Status))
	}
	return strings.Join(all, " ")
}

func result(t *testing.T, r probe.FullReport, name string) probe.Result {
	t.Helper()
	for _, one := range r.Results {
		if one.Name == name {
			return one
		}
	}
	t.Fatalf("no %s in %+v", name, r)
	return probe.Result{}
}

const verbsWell = "put=Supported head=Supported get=Supported range=Supported list=Supported delete=Supported objectLock=Unsupported multipart=Supported listUploads=Supported conditionalPut=Supported "

// TestFullProbe pins the capabilities found on each server.
func TestFullProbe(t *testing.T) {
	t.Parallel()
	const plain = "storageClass=Unknown sse=Unknown clockSkew=Supported"
	asking := func(class string, sse s3.SSE) func(*s3.Config) {
		return func(c *s3.Config) { c.StorageClass, c.SSE = class, sse }
	}
	for _, test := range []struct {
		kind    servers.S3Kind
		secure  bool
		change  func(*s3.Config)
		want    string
		refused string
	}{
		{servers.VersityGW, false, asking("", ""), "checksums=Supported " + plain, ""},
		{servers.VersityGW, true, asking("STANDARD_IA", s3.SSEAES256), "checksums=Supported storageClass=Unsupported sse=Unknown clockSkew=Supported", ""},
		{servers.MinIO, false, asking("", ""), "checksums=Supported " + plain, ""},
		{servers.MinIO, true, asking("STANDARD", s3.SSEAES256), "checksums=Supported storageClass=Supported sse=Supported clockSkew=Supported", ""},
		{servers.MinIO, false, asking("NO_SUCH_CLASS", ""), "checksums=Supported storageClass=Unsupported sse=Unknown clockSkew=Supported", storage.ReasonClassRefused},
		{servers.RGW, false, asking("STANDARD_IA", ""), "checksums=Unsupported storageClass=Supported sse=Unknown clockSkew=Supported", ""},
		{servers.RGW, true, asking("", s3.SSEAES256), "checksums=Unsupported storageClass=Unknown sse=Unknown clockSkew=Supported", ""},
		{servers.RGW, false, asking("NO_SUCH_CLASS", ""), "checksums=Unsupported storageClass=Unsupported sse=Unknown clockSkew=Supported", storage.ReasonClassRefused},
		{servers.RGW, false, asking("", s3.SSEAES256), "checksums=Unsupported storageClass=Unknown sse=Unsupported clockSkew=Supported", storage.ReasonSSERefused},
	} {
		server := servers.S3On(t, test.kind, test.secure)
		config := configFor(server)
		config.CABundle = server.CA
		test.change(&config)
		t.Run(fmt.Sprintf("%s/%v/%s/%s", test.kind, test.secure, config.StorageClass, config.SSE), func(t *testing.T) {
			t.Parallel()
			b := probing(t, server, config)
			r := probe.Full(t.Context(), b, false)
			want := verbsWell + test.want
			if test.refused != "" { // every put is refused then
				_, want, _ = strings.Cut(want, "checksums=")
				want = "checksums=" + want
			}
			if got := told(r); !strings.HasSuffix(got, want) || r.OK() == (test.refused != "") {
				t.Errorf("%s\nwant %s\n%+v", got, want, r)
			}
			if refused, _ := r.Refused(); refused.Reason != test.refused {
				t.Errorf("refused %q: %+v", refused.Reason, r)
			}
			for _, one := range r.Results {
				if one.Took > 10*time.Second || one.Message == "" {
					t.Errorf("%+v", one)
				}
			}
			if left := keys(t, b); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// TestDeniedVerbs: a denial names the missing permission, and stops no other test.
func TestDeniedVerbs(t *testing.T) {
	t.Parallel()
	isUpload := func(r *http.Request) bool { return r.URL.Query().Has("uploads") || r.URL.Query().Has("partNumber") }
	for permission, denied := range map[string]struct {
		on   func(*http.Request) bool
		name string // the capability that is then unsupported
		need []string
	}{
		"s3:GetObject":                  {func(r *http.Request) bool { return r.Method == http.MethodGet && !r.URL.Query().Has("list-type") }, probe.Get, []string{probe.Range}},
		"s3:PutObject":                  {func(r *http.Request) bool { return r.Method == http.MethodPut || isUpload(r) }, probe.Put, []string{"multipart", "conditionalPut"}},
		"s3:DeleteObject":               {func(r *http.Request) bool { return r.Method == http.MethodDelete && !r.URL.Query().Has("uploadId") }, probe.Delete, nil},
		"s3:AbortMultipartUpload":       {func(r *http.Request) bool { return r.Method == http.MethodDelete && r.URL.Query().Has("uploadId") }, "multipart", nil},
		"s3:ListBucketMultipartUploads": {func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Query().Has("uploads") }, "listUploads", nil},
		"s3:ListMultipartUploadParts":   {func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Query().Has("uploadId") }, "listUploads", nil},
		"s3:ListBucket":                 {func(r *http.Request) bool { return r.URL.Query().Has("list-type") }, probe.List, nil},
	} {
		t.Run(permission, func(t *testing.T) {
			t.Parallel()
			server := servers.S3(t)
			config := between{on: func(w http.ResponseWriter, r *http.Request) bool {
				if !denied.on(r) {
					return false
				}
				w.WriteHeader(http.StatusForbidden)
				w.Write([]byte("<Error><Code>AccessDenied</Code></Error>"))
				return true
			}}.config(t, server)
			r := probe.Full(t.Context(), probing(t, server, config), false)
			for _, name := range append(denied.need, denied.name) {
				if one := result(t, r, name); one.Status != storage.Unsupported || !strings.Contains(one.Message, permission) {
					t.Errorf("%s: %+v", name, one)
				}
			}
			for _, one := range r.Results {
				if one.Name == probe.Delete && permission != "s3:DeleteObject" && one.Status != storage.Supported {
					t.Errorf("%+v was stopped by another verb", one)
				}
			}
			if sweepOnly := denied.name == "listUploads" || denied.name == probe.Delete; r.OK() != sweepOnly {
				t.Errorf("a backend that lacks the permission passes: %v", r.OK())
			}
		})
	}
}

// TestRefusedFeatures: a feature that every put requests and the server refuses has
// a reason of its own; a put that fails for another cause does not have that reason.
func TestRefusedFeatures(t *testing.T) {
	t.Parallel()
	refusing := func(status int, code string, on func(*http.Request) bool) between {
		return between{on: func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut || !on(r) {
				return false
			}
			w.WriteHeader(status)
			w.Write([]byte("<Error><Code>" + code + "</Code></Error>"))
			return true
		}}
	}
	header := func(name string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.Header.Get(name) != "" }
	}
	for _, test := range []struct {
		name   string
		server between
		reason string
		put    string // the reason of the put that fails for it
	}{
		{"storage class", refusing(400, "InvalidArgument", header("X-Amz-Storage-Class")), storage.ReasonClassRefused, storage.ReasonClassRefused},
		{"encryption", refusing(400, "InvalidRequest", header("X-Amz-Server-Side-Encryption")), storage.ReasonSSERefused, storage.ReasonInvalidRequest},
		{"encryption is not implemented", refusing(501, "NotImplemented", header("X-Amz-Server-Side-Encryption")), storage.ReasonSSERefused, storage.ReasonInvalidRequest},
		{"every put", refusing(400, "InvalidRequest", func(*http.Request) bool { return true }), "", storage.ReasonInvalidRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := servers.S3(t)
			config := test.server.config(t, server)
			config.StorageClass, config.SSE = "STANDARD_IA", s3.SSEAES256
			b := probing(t, server, config)
			r := probe.Full(t.Context(), b, false)
			refused, ok := r.Refused()
			if ok != (test.reason != "") || refused.Reason != test.reason {
				t.Errorf("%+v", r)
			}
			if put := result(t, r, probe.Put); put.Status != storage.Unsupported || storage.ReasonOf(put.Err) != test.put {
				t.Errorf("%+v", put)
			}
			if left := keys(t, b); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// TestEncryptedPutsOnly: with a policy that denies unencrypted puts, as auditors
// want it, everything works that works elsewhere.
func TestEncryptedPutsOnly(t *testing.T) {
	t.Parallel()
	server := servers.S3(t)
	config := between{on: func(w http.ResponseWriter, r *http.Request) bool {
		query := r.URL.Query()
		makes := r.Method == http.MethodPut && !query.Has("partNumber") || r.Method == http.MethodPost && query.Has("uploads")
		if !makes || r.Header.Get("X-Amz-Server-Side-Encryption") == "AES256" {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		w.Write([]byte("<Error><Code>AccessDenied</Code></Error>"))
		return true
	}}.config(t, server)
	config.SSE = s3.SSEAES256
	b := open(t, server, config, buffer.New(24<<20, 8<<20))
	t.Cleanup(func() { b.Close() })
	if _, err := b.CreateMarker(t.Context(), []byte("marker")); err != nil {
		t.Error(err)
	}
	if _, err := b.Now(t.Context()); err != nil {
		t.Error(err)
	}
	content := make([]byte, threshold+1)
	if _, err := b.Put(t.Context(), storage.Source{Reader: bytes.NewReader(content), Size: storage.UnknownSize}); err != nil {
		t.Error(err)
	}
	r := probe.Full(t.Context(), probing(t, server, config), false)
	if want := verbsWell + "checksums=Supported"; !strings.HasPrefix(told(r), want) {
		t.Errorf("%+v", r)
	}
}

// TestUncheckedChecksums: the probe detects a server that ignores the header.
func TestUncheckedChecksums(t *testing.T) {
	t.Parallel()
	server := servers.S3(t)
	config := between{on: func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && r.Header.Get("X-Amz-Checksum-Crc32c") != "" {
			w.Header().Set("ETag", `"00000000000000000000000000000000"`)
			return true
		}
		return false
	}}.config(t, server)
	if one := result(t, probe.Full(t.Context(), probing(t, server, config), false), "checksums"); one.Status != storage.Unsupported {
		t.Errorf("%+v", one)
	}
}

// TestCancelledProbe leaves no object and no upload behind, wherever it is stopped.
func TestCancelledProbe(t *testing.T) {
	t.Parallel()
	for at := int64(0); ; at++ {
		server := servers.S3(t)
		ctx, cancel := context.WithCancel(t.Context())
		var asked atomic.Int64
		config := between{after: func(*http.Response) error {
			if asked.Add(1) == at+1 {
				cancel()
			}
			return nil
		}}.config(t, server)
		b := probing(t, server, config)
		r := probe.Full(ctx, b, false)
		cancel()
		if asked.Load() <= at { // it ended before
			if !r.OK() || at < 12 {
				t.Errorf("after %d requests: %+v", at, r)
			}
			return
		}
		// Cleaning up may continue after the caller has returned.
		left := keys(t, b)
		for until := time.Now().Add(30 * time.Second); len(left) > 0 && time.Now().Before(until); left = keys(t, b) {
			time.Sleep(50 * time.Millisecond)
		}
		if len(left) > 0 {
			t.Errorf("stopped at request %d, left behind: %q", at+1, left)
		}
	}
}

// TestClockSkew uses the Date of a real answer, changed in transit.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		skew    time.Duration
		status  storage.Support
		message string
	}{
		{0, storage.Supported, "less than 5 minutes"},
		{-4 * time.Minute, storage.Supported, "less than 5 minutes"},
		{7 * time.Minute, storage.Supported, "warning: the clocks differ by more than 5 minutes"},
		{-20 * time.Minute, storage.Unsupported, "more than 15 minutes"},
	} {
		server := servers.S3(t)
		config := between{after: func(answer *http.Response) error {
			answer.Header.Set("Date", time.Now().Add(test.skew).UTC().Format(http.TimeFormat))
			return nil
		}}.config(t, server)
		one := result(t, probe.Full(t.Context(), probing(t, server, config), true), "clockSkew")
		if one.Status != test.status || !strings.Contains(one.Message, test.message) || one.Detail == "" {
			t.Errorf("%s: %+v", test.skew, one)
		}
	}
}

// TestLeastRights: on Ceph RGW the policy of docs/OPERATOR.md is sufficient for a user
// other than the bucket's owner, and the probe names each permission that is denied.
// (Not allowing it would not be enough: the user who put an object there may read it.)
func TestLeastRights(t *testing.T) {
	t.Parallel()
	owned := servers.S3On(t, servers.RGW, false)
	user := owned
	user.AccessKey, user.SecretKey = "least"+owned.Bucket, "leastsecretkey"
	servers.RGWAdmin(t, "user", "create", "--uid="+user.AccessKey, "--display-name=least", "--access-key="+user.AccessKey, "--secret-key="+user.SecretKey)
	statement := func(effect, resource string, actions ...string) map[string]any {
		return map[string]any{
			"Effect": effect, "Principal": map[string]any{"AWS": []string{"arn:aws:iam:::user/" + user.AccessKey}},
			"Action": actions, "Resource": []string{"arn:aws:s3:::" + owned.Bucket + resource},
		}
	}
	ofBucket, ofObjects := []string{"s3:ListBucket", "s3:ListBucketMultipartUploads"},
		[]string{"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"}
	probed := func(more ...any) probe.FullReport {
		statements := append([]any{statement("Allow", "", ofBucket...), statement("Allow", "/*", ofObjects...)}, more...)
		policy, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := owned.Client().PutBucketPolicy(t.Context(), &sdk.PutBucketPolicyInput{Bucket: &owned.Bucket, Policy: aws.String(string(policy))}); err != nil {
			t.Fatal(err)
		}
		return probe.Full(t.Context(), probing(t, user, configFor(user)), false)
	}
	if r := probed(); !r.OK() {
		t.Errorf("the rights are not enough: %+v", r)
	}
	for _, right := range append(slices.Clone(ofBucket), ofObjects...) {
		resource := "/*"
		if slices.Contains(ofBucket, right) {
			resource = ""
		}
		r := probed(statement("Deny", resource, right))
		if !slices.ContainsFunc(r.Results, func(one probe.Result) bool {
			return one.Status == storage.Unsupported && strings.Contains(one.Message, right)
		}) {
			t.Errorf("without %s no finding names it: %+v", right, r)
		}
	}
}
