package s3

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
)

// refusePages makes an answer that succeeds, but is not an S3 server's, a failure. A
// proxy answers any request with 200 and a page (maintenance, a login), and the SDK
// finds nothing wrong: bytes would count as stored that nobody has.
func refusePages(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("RefusePage", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleInitialize(ctx, in)
		if err == nil && isPage(out.Result) {
			err = errNotS3
		}
		return out, metadata, err
	}), middleware.After)
}

// isPage reports whether an answer lacks what every S3 server says. Proxies may drop the
// tag of what is read (they compress it), never of what is written.
func isPage(answer any) bool {
	lacks := func(text *string) bool { return aws.ToString(text) == "" }
	switch a := answer.(type) {
	case *s3.PutObjectOutput:
		return lacks(a.ETag)
	case *s3.CreateMultipartUploadOutput:
		return lacks(a.UploadId)
	case *s3.UploadPartOutput:
		return lacks(a.ETag)
	case *s3.UploadPartCopyOutput:
		return a.CopyPartResult == nil || lacks(a.CopyPartResult.ETag)
	case *s3.CompleteMultipartUploadOutput:
		return lacks(a.Key) // Ceph RGW may leave the tag empty
	case *s3.CopyObjectOutput:
		return a.CopyObjectResult == nil || lacks(a.CopyObjectResult.ETag)
	case *s3.HeadObjectOutput:
		return lacks(a.ETag) && a.LastModified == nil
	case *s3.GetObjectOutput:
		if lacks(a.ETag) && a.LastModified == nil {
			a.Body.Close() //nolint:errcheck // not read
			return true
		}
	case *s3.ListObjectsV2Output: // any page looks like one without keys
		return lacks(a.Name)
	case *s3.ListMultipartUploadsOutput:
		return lacks(a.Bucket)
	}
	return false
}
