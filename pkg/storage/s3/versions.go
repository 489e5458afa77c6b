package s3

import (
	"context"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// noteVersion records, for erase, the version that a put has created of a temporary
// object. Servers return it if the bucket keeps versions. key is the complete key,
// which only one caller uses.
func (b *Backend) noteVersion(key, version *string) {
	if aws.ToString(version) == "" {
		return
	}
	passing := b.config.probes ||
		strings.HasPrefix(*key, *b.key(storage.StagingPrefix)+"/") ||
		strings.HasPrefix(*key, *b.key(storage.ProbePrefix)+"/")
	if !passing {
		return
	}
	b.versions.Store(*key, append(b.takeVersions(*key), *version))
}

func (b *Backend) takeVersions(key string) []string {
	noted, _ := b.versions.LoadAndDelete(key)
	versions, _ := noted.([]string)
	return versions
}

// erase deletes an object. In a bucket that keeps versions, deleting alone would
// leave the object there, invisible and billed, below a delete marker. So erase also
// removes the versions that noteVersion recorded, and then the marker. Without the
// permission for it (s3:DeleteObjectVersion, which nothing else needs) they stay,
// for a lifecycle rule of the bucket.
func (b *Backend) erase(ctx context.Context, key *string) error {
	remove := func(version *string) (*s3.DeleteObjectOutput, error) {
		return call(ctx, b, b.client.DeleteObject, &s3.DeleteObjectInput{Bucket: &b.config.Bucket, Key: key, VersionId: version})
	}
	answer, err := remove(nil)
	versions := b.takeVersions(*key)
	if err != nil || len(versions) == 0 {
		return err
	}
	for _, version := range versions {
		if _, err := remove(&version); err != nil {
			return nil
		}
	}
	if aws.ToString(answer.VersionId) == "" {
		return nil
	}
	if _, err := remove(answer.VersionId); err != nil {
		return nil
	}
	// A put whose answer was lost may have created one more version, which is visible again now.
	if _, err := call(ctx, b, b.client.HeadObject, &s3.HeadObjectInput{Bucket: &b.config.Bucket, Key: key}); statusOf(err) != http.StatusNotFound {
		_, err = remove(nil)
		return err
	}
	return nil
}
