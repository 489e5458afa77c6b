package s3

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/coulomb/artifact-store/pkg/storage"
)

// usualClass is what the server gives to an object that asks for none. Staged
// bytes are of it: they live for minutes, and a class may bill by the month or
// refuse to be read, as the copy must.
const usualClass types.StorageClass = ""

// class of new objects of a tier.
func (b *Backend) class(tier string) types.StorageClass {
	if class, ok := b.config.StorageClasses[tier]; ok {
		return types.StorageClass(class)
	}
	return types.StorageClass(b.config.StorageClass)
}

// classOf is class for what is put under key: what stands there keeps its
// class, whoever puts it again, where tiers have classes. That costs a request;
// without tiers it would be one more for every put, for what only a changed
// declaration makes differ.
func (b *Backend) classOf(ctx context.Context, key, tier string) types.StorageClass {
	wanted := b.class(tier)
	if len(b.config.StorageClasses) == 0 {
		return wanted
	}
	there, err := call(ctx, b, b.client.HeadObject, &s3.HeadObjectInput{Bucket: &b.config.Bucket, Key: b.key(key)})
	if err != nil {
		return wanted
	}
	return there.StorageClass // STANDARD is not told
}

// classes lists each class that a put may ask for once, sorted.
func (b *Backend) classes() []string {
	all := append(slices.Collect(maps.Values(b.config.StorageClasses)), b.config.StorageClass)
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(class string) bool { return class == string(usualClass) })
}

// classError is an answer to a request that asked for a class of storage, and
// that may have been refused for it.
type classError struct {
	class types.StorageClass
	error
}

// classRefused keeps the class that was asked for with the answer, where that
// may be about it: MinIO and Amazon say InvalidStorageClass, Ceph RGW
// InvalidArgument, which of what we send only the class can be.
func classRefused(class types.StorageClass, err error) error {
	if class != usualClass && statusOf(err) == http.StatusBadRequest && isCode(err, "InvalidStorageClass", "InvalidArgument") {
		return &classError{class, err}
	}
	return err
}

func (e *classError) Unwrap() error { return e.error }

func (e *classError) finding() finding {
	return finding{storage.ErrClass, storage.ReasonClassRefused, fmt.Sprintf("the server does not take the storage class %s", e.class)}
}
