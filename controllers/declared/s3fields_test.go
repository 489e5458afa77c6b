package declared

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/s3"
)

// jsonNames lists the fields of a struct by their names as JSON, and by their Go names.
func jsonNames(t reflect.Type) map[string]string {
	all := map[string]string{}
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); t.Field(i).IsExported() && name != "-" {
			all[name] = t.Field(i).Name
		}
	}
	return all
}

// TestEveryFieldOfS3 of a StorageBackend's spec reaches the driver. A field that
// is added to one of the two types fails here until the other has it.
func TestEveryFieldOfS3(t *testing.T) {
	t.Parallel()
	ref := func(name string) *v1alpha1.ValueRef { return &v1alpha1.ValueRef{Env: name} }
	spec := &v1alpha1.S3Spec{
		EndpointURL: "https://s3.example.com", Region: "eu-1", Bucket: "bucket", KeyPrefix: "a/b",
		AccessKeyRef: ref("access"), SecretKeyRef: ref("secret"), SessionTokenRef: ref("token"), CABundleRef: ref("bundle"),
		StorageClass: "STANDARD", StorageClasses: &v1alpha1.StorageClasses{Hot: "A", Warm: "B", Cold: "C"}, SSE: "SSE-S3",
		MultipartThresholdBytes: 32 << 20, MultipartChunkBytes: 16 << 20, ForcePathStyle: new(false),
		Checksums: "WhenRequired", Promote: "Rewrite", RequestTimeout: &metav1.Duration{Duration: 90 * time.Second}, MaxConnections: 7,
	}
	value := reflect.ValueOf(*spec)
	for i := range value.NumField() {
		if value.Field(i).IsZero() {
			t.Errorf("the test leaves %s out", value.Type().Field(i).Name)
		}
	}

	// By name, and nothing that is set is lost.
	c, err := byName(withoutRefs(spec))
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range Refs(spec) {
		if !c.SetSecret(ref.Value(), storage.NewSecret(ref.Env)) {
			t.Errorf("%s leads to no field of the driver's Config", ref.Field)
		}
	}
	config := reflect.ValueOf(c)
	for i := range config.NumField() {
		if field := config.Type().Field(i); field.IsExported() && field.Name != "AllowAmbientCredentials" && config.Field(i).IsZero() {
			t.Errorf("%s of the driver's Config has no value: spec.s3 has no such field", field.Name)
		}
	}
	if want := map[string]string{"hot": "A", "warm": "B", "cold": "C"}; !reflect.DeepEqual(c.StorageClasses, want) || c.RequestTimeout != 90*time.Second || *c.ForcePathStyle || c.SSE != s3.SSEAES256 {
		t.Errorf("%+v", c)
	}

	// Both ways, by the types alone.
	declared, known := jsonNames(reflect.TypeFor[v1alpha1.S3Spec]()), jsonNames(reflect.TypeFor[s3.Config]())
	for name := range declared {
		if _, is := known[name]; !is && !slices.ContainsFunc(refFields, func(r Ref) bool { return r.Field == name }) {
			t.Errorf("the driver's Config has no %s", name)
		}
	}
	for name := range known {
		if _, is := declared[name]; !is && name != "allowAmbientCredentials" {
			t.Errorf("spec.s3 has no %s", name)
		}
	}
	if len(refFields) != 4 {
		t.Errorf("%d references", len(refFields))
	}
}
