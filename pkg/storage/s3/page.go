package s3

import (
	"context"
	"net/http"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// refusePages makes an answer that succeeds, but is not an S3 server's, a failure. A
// proxy answers any request with 200 and a page (maintenance, a login), and the SDK
// does not look into the body of an answer that needs none: bytes would count as stored
// that nobody has.
func refusePages(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("RefusePage", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleDeserialize(ctx, in)
		answer, is := out.RawResponse.(*smithyhttp.Response)
		if err == nil && is && answer.StatusCode/100 == 2 && isPage(middleware.GetOperationName(ctx), answer.Header) {
			err = errNotS3
		}
		return out, metadata, err
	}), middleware.After)
}

// isPage reports whether an answer lacks what every S3 server says about an object.
// Proxies may drop the tag of what is read (they compress it), never of what is written.
func isPage(operation string, answer http.Header) bool {
	switch operation {
	case "PutObject", "UploadPart":
		return answer.Get("ETag") == ""
	case "GetObject", "HeadObject":
		return answer.Get("ETag") == "" && answer.Get("Last-Modified") == ""
	}
	return false
}
