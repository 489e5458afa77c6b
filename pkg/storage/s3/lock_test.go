package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
	"github.com/coulomb/artifact-store/test/servers"
)

// demandsChecksum refuses what Amazon S3 refuses in a bucket with Object Lock: an
// object or a part without a checksum in a header.
func demandsChecksum(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodPut || r.Header.Get("X-Amz-Copy-Source") != "" || r.Header.Get("Content-Md5") != "" {
		return false
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Amz-Checksum-") {
			return false
		}
	}
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprint(w, "<Error><Code>InvalidRequest</Code><Message>Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters</Message></Error>")
	return true
}

// TestObjectLock: in a bucket with a default retention everything is stored that is
// stored elsewhere, and stays.
func TestObjectLock(t *testing.T) {
	t.Parallel()
	for _, kind := range servers.S3Kinds {
		for _, mode := range []s3.Checksums{s3.ChecksumsAuto, s3.ChecksumsWhenRequired, s3.ChecksumsWhenSupported} {
			t.Run(fmt.Sprint(kind, "/", mode), func(t *testing.T) {
				t.Parallel()
				server := servers.S3Locked(t, kind)
				config := between{on: demandsChecksum}.config(t, server)
				config.Checksums = mode
				b := open(t, server, config, buffer.New(24<<20, 8<<20))
				t.Cleanup(func() { b.Close() })
				if there, err := b.CreateMarker(t.Context(), []byte("marker")); err != nil || string(there) != "marker" {
					t.Errorf("the marker: %q, %v", there, err)
				}
				for i := range 2 {
					if _, err := b.WriteHeadMark(t.Context(), fmt.Append(nil, i)); err != nil {
						t.Errorf("the head mark: %v", err)
					}
				}
				if _, err := b.Now(t.Context()); err != nil {
					t.Error(err)
				}
				for i, size := range []int64{0, 1000, threshold + 1, threshold + 2} {
					data := storagetest.Bytes(uint64(i), size)
					src := source(data)
					if i == 3 { // staged
						src = storage.Source{Reader: bytes.NewReader(data), Size: storage.UnknownSize}
					}
					if _, err := b.Put(t.Context(), src); err != nil {
						t.Errorf("%d bytes: %v", size, err)
						continue
					}
					if got := read(t, b, storageDigest(data)); !bytes.Equal(got, data) {
						t.Errorf("%d of %d bytes came back", len(got), size)
					}
					locked(t, server, config.KeyPrefix+"/"+storage.Key(storageDigest(data)))
				}
			})
		}
	}
}

// locked fails unless the object's version cannot be removed.
func locked(t *testing.T, server servers.S3Server, key string) {
	t.Helper()
	for _, version := range versionsOf(t, server, key) {
		if _, err := server.Client().DeleteObject(t.Context(), &sdk.DeleteObjectInput{Bucket: &server.Bucket, Key: &key, VersionId: &version}); err == nil {
			t.Errorf("%s is not locked", key)
		}
	}
}

// versionsOf lists the versions of the objects whose keys contain part.
func versionsOf(t *testing.T, server servers.S3Server, part string) (ids []string) {
	t.Helper()
	pages := sdk.NewListObjectVersionsPaginator(server.Client(), &sdk.ListObjectVersionsInput{Bucket: &server.Bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, version := range page.Versions {
			if strings.Contains(aws.ToString(version.Key), part) {
				ids = append(ids, aws.ToString(version.VersionId))
			}
		}
	}
	return ids
}

// TestProbeOfALockedBucket tells the lock. Once it is known, a probe leaves one version
// more, of one key, and no upload.
func TestProbeOfALockedBucket(t *testing.T) {
	t.Parallel()
	for _, kind := range servers.S3Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			server := servers.S3Locked(t, kind)
			b := probing(t, server, configFor(server))
			r := probe.Full(t.Context(), b, false)
			if lock := result(t, r, probe.ObjectLock); lock.Status != storage.Supported || !strings.Contains(lock.Message, "1 days (GOVERNANCE)") {
				t.Errorf("%+v", lock)
			}
			if removal := result(t, r, probe.Delete); removal.Status != storage.Unsupported || !strings.Contains(removal.Message, "stays") || !r.OK() {
				t.Errorf("%+v in %+v", removal, r)
			}
			before := len(versionsOf(t, server, ""))
			for range 2 {
				if r = probe.Sparing(t.Context(), b); !r.OK() || !r.Complete() || result(t, r, probe.Delete).Status != storage.Unsupported {
					t.Errorf("%+v", r)
				}
			}
			if after := len(versionsOf(t, server, "")); after-before > 2 {
				t.Errorf("two probes left %d versions", after-before)
			}
			if seen := keys(t, b); len(seen) > 2 {
				t.Errorf("there is %q", seen)
			}
		})
	}
}

// TestLockWithoutThePermission to read the bucket's configuration: the identity object
// tells, on servers that show its lock.
func TestLockWithoutThePermission(t *testing.T) {
	t.Parallel()
	for kind, want := range map[servers.S3Kind]storage.Support{servers.MinIO: storage.Supported, servers.RGW: storage.Supported, servers.VersityGW: storage.SupportUnknown} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			server := servers.S3Locked(t, kind)
			config := between{on: func(w http.ResponseWriter, r *http.Request) bool {
				if !r.URL.Query().Has("object-lock") {
					return false
				}
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, "<Error><Code>AccessDenied</Code></Error>")
				return true
			}}.config(t, server)
			if _, err := newBackend(t, config).CreateMarker(t.Context(), []byte("marker")); err != nil {
				t.Fatal(err)
			}
			r := probe.Full(t.Context(), probing(t, server, config), false)
			lock, removal := result(t, r, probe.ObjectLock), result(t, r, probe.Delete)
			if lock.Status != want || !strings.Contains(lock.Message, "s3:GetBucketObjectLockConfiguration") || (removal.Status == storage.Unsupported) != (want == storage.Supported) {
				t.Errorf("%+v; %+v", lock, removal)
			}
		})
	}
}

// TestKeysThatMayNotDelete store and serve; the probe says what they may not, and leaves
// one object however often it is made.
func TestKeysThatMayNotDelete(t *testing.T) {
	t.Parallel()
	for _, kind := range servers.S3Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			server := servers.S3On(t, kind, false)
			config := between{on: deniesDelete}.config(t, server)
			b := probing(t, server, config)
			if r := probe.Small(t.Context(), b); !r.OK() || r.Err() != nil {
				t.Errorf("%+v", r)
			}
			r := probe.Full(t.Context(), b, false)
			if removal := result(t, r, probe.Delete); removal.Status != storage.Unsupported || !strings.Contains(removal.Message, "s3:DeleteObject") || !r.OK() {
				t.Errorf("%+v in %+v", removal, r)
			}
			if r = probe.Sparing(t.Context(), b); !r.OK() || !r.Complete() {
				t.Errorf("%+v", r)
			}
			before := keys(t, b)
			for range 2 {
				probe.Sparing(t.Context(), b)
			}
			if after := keys(t, b); len(after) != len(before) {
				t.Errorf("two probes left %d objects: %q", len(after)-len(before), after)
			}
		})
	}
}

func deniesDelete(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodDelete || r.URL.Query().Has("uploadId") {
		return false
	}
	w.WriteHeader(http.StatusForbidden)
	fmt.Fprint(w, "<Error><Code>AccessDenied</Code></Error>")
	return true
}

// TestMarkerWhereVersionsAreKept: two writers agree on one marker, and a place whose
// marker was deleted can be taken again.
func TestMarkerWhereVersionsAreKept(t *testing.T) {
	t.Parallel()
	for _, kind := range servers.S3Kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			server := servers.S3Versions(t, kind)
			b := newBackend(t, configFor(server))
			type created struct {
				marker []byte
				err    error
			}
			all := make(chan created)
			const writers = 4
			for i := range writers {
				go func() {
					marker, err := b.CreateMarker(context.WithoutCancel(t.Context()), fmt.Append(nil, "marker ", i))
					all <- created{marker, err}
				}()
			}
			seen := map[string]bool{}
			for range writers {
				one := <-all
				if one.err != nil {
					t.Error(one.err)
				}
				seen[string(one.marker)] = true
			}
			if len(seen) != 1 {
				t.Errorf("the writers saw %d markers: %v", len(seen), seen)
			}
			key := configFor(server).KeyPrefix + "/" + storage.MarkerKey
			if _, err := server.Client().DeleteObject(t.Context(), &sdk.DeleteObjectInput{Bucket: &server.Bucket, Key: &key}); err != nil {
				t.Fatal(err)
			}
			if there, err := b.CreateMarker(t.Context(), []byte("again")); err != nil || string(there) != "again" {
				t.Errorf("%q, %v", there, err)
			}
		})
	}
}
