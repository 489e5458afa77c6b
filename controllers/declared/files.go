package declared

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/regular"
)

// maxConfigFile bounds one file, in bytes.
const maxConfigFile = 1 << 20

// Declaration is what a folder of YAML files declares.
type Declaration struct {
	Backends []v1alpha1.StorageBackend
	Policies []v1alpha1.RoutingPolicy
	// objects are the same with their defaults, by kind and name.
	objects map[string]map[string]any
	// before are those of the declaration that this one replaces.
	before map[string]map[string]any
}

// Next returns an empty declaration that replaces d: rules about changes
// compare objects of the same kind and name.
func (d *Declaration) Next() Declaration { return Declaration{before: d.objects} }

// Marked records the id in the marker of a backend's place. Rules keep the place
// as it is from then on.
func (d *Declaration) Marked(name, id string) {
	if object := d.objects["StorageBackend "+name]; object != nil {
		object["status"] = map[string]any{"id": id}
	}
}

// LoadDir reads every *.yaml and *.yml file of dir (not of folders in it), as
// the declaration that replaces previous. Errors name the file, the document in
// it and the field; a single error refuses all files.
func LoadDir(dir string, previous Declaration) (Declaration, error) {
	names, err := filesIn(dir)
	if err != nil {
		return Declaration{}, err
	}
	all := previous.Next()
	for _, name := range names {
		content, err := regular.Read(filepath.Join(dir, name), maxConfigFile)
		if err != nil {
			return Declaration{}, err
		}
		if err := all.Read(name, content); err != nil {
			return Declaration{}, err
		}
	}
	return all, nil
}

// Paths are those of the files that LoadDir reads, and the folder's own.
func Paths(dir string) []string {
	paths := []string{dir}
	names, _ := filesIn(dir) // the folder's own path stands for the error
	for _, name := range names {
		paths = append(paths, filepath.Join(dir, name))
	}
	return paths
}

func filesIn(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		if name := entry.Name(); !strings.HasPrefix(name, ".") && slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(name)) {
			names = append(names, name)
		}
	}
	return names, err
}

// Read adds the documents of one file.
func (d *Declaration) Read(file string, content []byte) error {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for i := 1; ; i++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = d.add(document)
		}
		if err != nil {
			return fmt.Errorf("%s, document %d: %w", file, i, err)
		}
	}
}

func (d *Declaration) add(document []byte) error {
	asJSON, err := yaml.YAMLToJSONStrict(document) // which refuses a key that stands twice
	if err != nil {
		return err
	}
	var content any
	if err := utiljson.Unmarshal(asJSON, &content); err != nil {
		return err
	}
	if content == nil {
		return nil // only comments
	}
	object, is := content.(map[string]any)
	if !is {
		return errors.New("it is not an object")
	}
	u := unstructured.Unstructured{Object: object}
	if u.GetAPIVersion() != v1alpha1.GroupVersion.String() {
		return fmt.Errorf("apiVersion: %q is not %s", u.GetAPIVersion(), v1alpha1.GroupVersion)
	}
	switch u.GetKind() {
	case "StorageBackend":
		var sb v1alpha1.StorageBackend
		if err := d.admit(u.GetKind(), object, &sb); err != nil {
			return err
		}
		sb.Status = v1alpha1.StorageBackendStatus{}
		d.Backends = append(d.Backends, sb)
		if sb.Spec.Verification != nil {
			// What no schema can say: whether there is such a time zone, and such a day.
			_, err := PlanVerification(&sb)
			return err
		}
	case "RoutingPolicy":
		var p v1alpha1.RoutingPolicy
		if err := d.admit(u.GetKind(), object, &p); err != nil {
			return err
		}
		p.Status = v1alpha1.RoutingPolicyStatus{}
		d.Policies = append(d.Policies, p)
	default:
		return fmt.Errorf("kind: %q is neither StorageBackend nor RoutingPolicy", u.GetKind())
	}
	return nil
}

// admit judges an object by the schema of its kind and reads it, with its defaults.
func (d *Declaration) admit(kind string, object map[string]any, into metav1.Object) error {
	delete(object, "status") // nobody declares one
	var named metav1.PartialObjectMetadata
	if err := decodeStrictly(map[string]any{"metadata": object["metadata"]}, &named); err != nil {
		return err
	}
	if named.Name == "" {
		return &Invalid{field.ErrorList{field.Required(field.NewPath("metadata", "name"), "")}}
	}
	named.Namespace = "" // a folder is one
	key := kind + " " + named.Name
	if _, twice := d.objects[key]; twice {
		return fmt.Errorf("metadata.name: a %s %q is declared twice", kind, named.Name)
	}
	errs := apivalidation.ValidateObjectMeta(&named.ObjectMeta, false, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	if errs = append(errs, schemas()[kind].admit(object, d.before[key])...); len(errs) > 0 {
		return &Invalid{errs}
	}
	if d.objects == nil {
		d.objects = map[string]map[string]any{}
	}
	d.objects[key] = object
	return decodeStrictly(object, into)
}

// decodeStrictly refuses what the type does not have, by its path.
func decodeStrictly(object map[string]any, into any) error {
	text, err := utiljson.Marshal(object)
	if err != nil {
		return err
	}
	strict, err := json.UnmarshalStrict(text, into)
	return errors.Join(append(strict, err)...)
}
