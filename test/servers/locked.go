package servers

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

var versioning shared[*s3Process]

// S3Versions returns a fresh bucket that keeps versions, on a server of that kind over http.
func S3Versions(tb testing.TB, kind S3Kind) S3Server {
	tb.Helper()
	server := processWithVersions(tb, kind).bucket(tb)
	if _, err := server.Client().PutBucketVersioning(context.Background(), &s3.PutBucketVersioningInput{
		Bucket: &server.Bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	}); err != nil {
		tb.Fatalf("keeping versions in a bucket on %s: %v", kind, err)
	}
	return server
}

// S3Locked returns a fresh bucket with Object Lock: each object is locked for a day,
// in governance mode. It is on a server of that kind over http.
func S3Locked(tb testing.TB, kind S3Kind) S3Server {
	tb.Helper()
	server := processWithVersions(tb, kind).bucketAs(tb, &s3.CreateBucketInput{ObjectLockEnabledForBucket: aws.Bool(true)})
	if _, err := server.Client().PutObjectLockConfiguration(context.Background(), &s3.PutObjectLockConfigurationInput{
		Bucket: &server.Bucket, ObjectLockConfiguration: &types.ObjectLockConfiguration{
			ObjectLockEnabled: types.ObjectLockEnabledEnabled,
			Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{
				Mode: types.ObjectLockRetentionModeGovernance, Days: aws.Int32(1),
			}},
		},
	}); err != nil {
		tb.Fatalf("locking a bucket on %s: %v", kind, err)
	}
	return server
}

func processWithVersions(tb testing.TB, kind S3Kind) *s3Process {
	tb.Helper()
	if kind == VersityGW { // the one that others share keeps none
		return versioning.get(tb, func() (*s3Process, error) {
			return try5("versitygw", func() (*s3Process, error) { return startVersityGW(false, true) })
		})
	}
	return sharedProcess(tb, kind, false)
}
