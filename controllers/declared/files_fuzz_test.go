package declared

import (
	"strings"
	"testing"
)

// FuzzRead: a file of declarations is refused with the number of a document, or
// has objects that no second file may declare again.
func FuzzRead(f *testing.F) {
	const head = "apiVersion: artifactstore.dev/v1alpha1\nkind: "
	f.Add([]byte(head + "StorageBackend\nmetadata: {name: disk}\nspec: {local: {path: /data/disk}}\n---\n" +
		head + "RoutingPolicy\nmetadata: {name: all}\nspec: {rules: [{backends: [disk]}]}\n"))
	f.Add([]byte(head + "StorageBackend\nmetadata: {name: s3}\nspec: {s3: {bucket: packages, region: eu-central-1, secretRef: {name: keys}}, verification: {schedule: \"0 3 * * *\", timeZone: Europe/Berlin}}\n"))
	f.Add([]byte("# nothing\n---\n"))
	f.Add([]byte("a: &a [x]\nb: [*a, *a]\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		var d Declaration
		if err := d.Read("one.yaml", content); err != nil {
			if !strings.HasPrefix(err.Error(), "one.yaml, document ") {
				t.Fatalf("the error names no document: %v", err)
			}
			return
		}
		if len(d.Backends)+len(d.Policies) != len(d.objects) {
			t.Fatalf("%d backends and %d policies of %d objects", len(d.Backends), len(d.Policies), len(d.objects))
		}
		if len(d.objects) > 0 && d.Read("two.yaml", content) == nil {
			t.Fatal("the same objects are declared twice")
		}
	})
}
