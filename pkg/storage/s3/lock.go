package s3

import (
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// tryLock finds out whether the bucket locks each new object for some time.
func (b *Backend) tryLock(ctx context.Context) (storage.Found, error) {
	answer, err := call(ctx, b, b.client.GetObjectLockConfiguration, &s3.GetObjectLockConfigurationInput{Bucket: &b.config.Bucket})
	switch {
	case err == nil:
		return lockFound(answer.ObjectLockConfiguration), nil
	case isCode(err, "ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration", "InvalidRequest"),
		statusOf(err) == http.StatusNotImplemented, statusOf(err) == http.StatusMethodNotAllowed:
		return unsupported("the bucket has no Object Lock"), nil
	case isCode(err, "AccessDenied"):
		return b.lockOfMarker(ctx), nil
	}
	return storage.Found{}, b.failed(ctx, "get the lock's configuration", err)
}

// lockOfMarker looks at the lock of the one object that every place has, which most
// servers tell whoever may read the object.
func (b *Backend) lockOfMarker(ctx context.Context) storage.Found {
	const lacking = "the keys lack s3:GetBucketObjectLockConfiguration"
	answer, err := call(ctx, b, b.client.HeadObject, &s3.HeadObjectInput{
		Bucket: &b.config.Bucket, Key: aws.String(join(b.config.ownPrefix(), storage.MarkerKey)),
	})
	if err != nil || answer.ObjectLockMode == "" {
		return storage.Found{Status: storage.SupportUnknown, Message: "not known: " + lacking}
	}
	found := supported(fmt.Sprintf("the identity object is locked (%s); for how long new objects are is not known: %s", answer.ObjectLockMode, lacking))
	found.Stays = true
	return found
}

func lockFound(lock *types.ObjectLockConfiguration) storage.Found {
	if lock == nil || lock.ObjectLockEnabled != types.ObjectLockEnabledEnabled {
		return unsupported("the bucket has no Object Lock")
	}
	if lock.Rule == nil || lock.Rule.DefaultRetention == nil {
		return supported("the bucket has Object Lock, and locks no object by default")
	}
	kept := lock.Rule.DefaultRetention
	period := fmt.Sprintf("%d days", aws.ToInt32(kept.Days))
	if years := aws.ToInt32(kept.Years); years > 0 {
		period = fmt.Sprintf("%d years", years)
	}
	found := supported(fmt.Sprintf("the bucket locks each new object for %s (%s)", period, kept.Mode))
	found.Stays = true
	return found
}
