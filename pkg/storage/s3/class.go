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

// usualClass requests the server's default class. Staged bytes use it: they live for
// minutes, while a class may bill by the month or not be readable, as the copy
// requires.
const usualClass types.StorageClass = ""

// class returns the class of new objects of a tier.
func (b *Backend) class(tier string) types.StorageClass {
	if class, ok := b.config.StorageClasses[tier]; ok {
		return types.StorageClass(class)
	}
	return types.StorageClass(b.config.StorageClass)
}

// classOf is class for a blob put under key: if tiers have classes, an existing object
// keeps its class when it is put again. That costs a request; without tiers it would
// cost every put a request for the rare case of a changed declaration.
func (b *Backend) classOf(ctx context.Context, key, tier string) types.StorageClass {
	wanted := b.class(tier)
	if len(b.config.StorageClasses) == 0 {
		return wanted
	}
	there, err := call(ctx, b, b.client.HeadObject, &s3.HeadObjectInput{Bucket: &b.config.Bucket, Key: b.key(key)})
	if err != nil {
		return wanted
	}
	return there.StorageClass // empty means STANDARD
}

// classes lists each class that a put may request once, sorted.
func (b *Backend) classes() []string {
	all := append(slices.Collect(maps.Values(b.config.StorageClasses)), b.config.StorageClass)
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(class string) bool { return class == string(usualClass) })
}

// classError is an answer to a request for a storage class that may have been refused
// because of the class.
type classError struct {
	class types.StorageClass
	error
}

// classRefused adds the requested class to an answer that may be about it: MinIO and
// Amazon say InvalidStorageClass, Ceph RGW InvalidArgument, for which only the class
// can be the cause in our requests.
func classRefused(class types.StorageClass, err error) error {
	if class != usualClass && statusOf(err) == http.StatusBadRequest && isCode(err, "InvalidStorageClass", "InvalidArgument") {
		return &classError{class, err}
	}
	return err
}

func (e *classError) Unwrap() error { return e.error }

func (e *classError) finding() finding {
	return finding{storage.ErrClass, storage.ReasonClassRefused, fmt.Sprintf("the server refuses the storage class %s", e.class)}
}
