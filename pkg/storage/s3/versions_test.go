package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/probe"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
	"github.com/coulomb/artifact-store/test/servers"
)

// TestBucketWithVersions: temporary objects leave no version behind, given the
// permission for it; without the permission everything else works.
func TestBucketWithVersions(t *testing.T) {
	t.Parallel()
	for _, kind := range []servers.S3Kind{servers.MinIO, servers.RGW} { // versitygw would need a folder for them
		for _, denied := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/denied=%t", kind, denied), func(t *testing.T) {
				t.Parallel()
				server := servers.S3On(t, kind, false)
				if _, err := server.Client().PutBucketVersioning(t.Context(), &sdk.PutBucketVersioningInput{
					Bucket: &server.Bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
				}); err != nil {
					t.Fatal(err)
				}
				var asked atomic.Int64
				var lose atomic.Bool
				config := between{after: func(answer *http.Response) error {
					if r := answer.Request; r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/clock/") && lose.Swap(false) {
						return errors.New("lost")
					}
					return nil
				}, on: func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method != http.MethodDelete || !r.URL.Query().Has("versionId") {
						return false
					}
					asked.Add(1)
					if denied {
						w.WriteHeader(http.StatusForbidden)
						w.Write([]byte("<Error><Code>AccessDenied</Code></Error>"))
					}
					return denied
				}}.config(t, server)
				if r := probe.Full(t.Context(), probing(t, server, config), false); !r.OK() {
					t.Errorf("%+v", r)
				}
				b := newBackend(t, config)
				// The answer is lost, and the retry creates another version.
				lose.Store(true)
				if _, err := b.Now(t.Context()); err != nil || lose.Load() {
					t.Error(err)
				}
				staged := storagetest.Bytes(5, threshold+1)
				if _, err := b.Put(t.Context(), storage.Source{Reader: bytes.NewReader(staged), Size: storage.UnknownSize}); err != nil {
					t.Fatal(err)
				}
				if _, err := b.Now(t.Context()); err != nil {
					t.Error(err)
				}
				listed, err := server.Client().ListObjectVersions(t.Context(), &sdk.ListObjectVersionsInput{Bucket: &server.Bucket})
				if err != nil {
					t.Fatal(err)
				}
				var left []string
				for _, version := range listed.Versions {
					if !strings.HasSuffix(*version.Key, storage.Key(storageDigest(staged))) {
						left = append(left, *version.Key)
					}
				}
				for _, marker := range listed.DeleteMarkers {
					left = append(left, "deleted "+aws.ToString(marker.Key))
				}
				// The version whose answer was lost is unknown.
				left = slices.DeleteFunc(left, func(what string) bool { return strings.Contains(what, "/clock/") })
				if denied != (len(left) > 0) || asked.Load() == 0 {
					t.Errorf("asked %d times; versions and markers that are left: %q", asked.Load(), left)
				}
				if got := read(t, b, storageDigest(staged)); !bytes.Equal(got, staged) {
					t.Errorf("%d of %d bytes came back", len(got), len(staged))
				}
				// The object does not reappear either.
				if seen := keys(t, &placed{Backend: b, server: server, config: config}); len(seen) != 1 {
					t.Errorf("there is %q", seen)
				}
				// The head mark is written again and again, and has one version.
				for i := range 3 {
					if _, err := b.ReadHeadMark(t.Context()); (i == 0) != errors.Is(err, storage.ErrNotFound) {
						t.Errorf("reading the head mark: %v", err)
					}
					if kept, err := b.WriteHeadMark(t.Context(), fmt.Append(nil, i)); err != nil || kept != (denied && i > 0) {
						t.Fatalf("kept: %t, %v", kept, err)
					}
				}
				if listed, err = server.Client().ListObjectVersions(t.Context(), &sdk.ListObjectVersionsInput{Bucket: &server.Bucket}); err != nil {
					t.Fatal(err)
				}
				marks := 0
				for _, version := range listed.Versions {
					if strings.HasSuffix(*version.Key, storage.HeadMarkKey) {
						marks++
					}
				}
				if want := map[bool]int{false: 1, true: 3}[denied]; marks != want {
					t.Errorf("the head mark has %d versions, expected %d", marks, want)
				}
			})
		}
	}
}
