package controllers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/cronjobs"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/observe"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/routing"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
)

var at = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

var update = flag.Bool("update", false, "write the golden files anew")

// golden is what a *.in.yaml declares: objects as an API server would hold
// them, and in a document of kind Settings how the manager was started.
type golden struct {
	declared.Declaration
	secrets  secretsReader
	settings declared.Settings
	pods     cronjobs.PodSettings
	host     bool
}

// secretsReader is a client.Reader of Secrets that are in memory.
type secretsReader struct {
	client.Reader
	items map[string]corev1.Secret
}

func (r secretsReader) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	secret, ok := r.items[key.Name]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, key.Name)
	}
	*into.(*corev1.Secret) = secret
	return nil
}

// translated is what a *.out.yaml holds. Secrets print masked.
type translated struct {
	Backends map[string]translatedBackend `json:"backends"`
	Table    []placement.Backend          `json:"table"`
	Rules    []routing.Rule               `json:"rules,omitempty"`
}

type translatedBackend struct {
	Config  map[string]any    `json:"config,omitempty"`
	Place   string            `json:"place,omitempty"`
	Problem *declared.Problem `json:"problem,omitempty"`
}

func TestTranslate(t *testing.T) {
	t.Parallel()
	inputs, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, input := range inputs {
		t.Run(strings.TrimSuffix(filepath.Base(input), ".in.yaml"), func(t *testing.T) {
			t.Parallel()
			got, err := yaml.Marshal(translate(t, readGolden(t, input)))
			if err != nil {
				t.Fatal(err)
			}
			output := strings.TrimSuffix(input, ".in.yaml") + ".out.yaml"
			if *update {
				if err := os.WriteFile(output, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(output)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs (-update writes it):\n%s", output, got)
			}
			if bytes.Contains(got, []byte("VALUE-OF-A-SECRET")) {
				t.Error("a secret is printed")
			}
		})
	}
}

func translate(t *testing.T, in golden) translated {
	lookup := observe.SecretLookup(t.Context(), in.secrets, "ns")
	if in.host {
		lookup = observe.HostLookup
	}
	out := translated{Backends: map[string]translatedBackend{}}
	opened := map[string]status.Opened{}
	overlaps := declared.PlacesOf(in.Backends, in.settings)
	for i := range in.Backends {
		sb := &in.Backends[i]
		config, wrong := declared.Config(sb, lookup, in.settings)
		if wrong == nil {
			wrong = overlaps.Problem(sb)
		}
		if wrong != nil {
			out.Backends[sb.Name] = translatedBackend{Problem: wrong}
			opened[sb.Name] = status.Opened{Problem: wrong}
			continue
		}
		out.Backends[sb.Name] = translatedBackend{Config: fieldsOf(config), Place: config.Place()}
		if words := declared.Place(sb, in.settings); words != config.Place() {
			t.Errorf("%s: the place is %q in words and %q of the driver", sb.Name, words, config.Place())
		}
		opened[sb.Name] = status.Opened{Store: unused{}, ID: sb.Annotations["opened-id"], At: at}
	}
	s := status.Snapshot(in.Backends, in.Policies, opened)
	out.Table, out.Rules = s.Backends, s.Rules
	return out
}

// unused stands for a driver that is not called.
type unused struct{ storage.Backend }

func readGolden(t *testing.T, path string) golden {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	in := golden{secrets: secretsReader{items: map[string]corev1.Secret{}}}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return in
		}
		if err == nil {
			err = in.addDocument(document)
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
}

func (in *golden) addDocument(document []byte) error {
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(document, &kind); err != nil {
		return err
	}
	switch kind.Kind {
	case "Settings":
		var read struct {
			metav1.TypeMeta
			declared.Settings
			Pods cronjobs.PodSettings
			Host bool
		}
		err := yaml.UnmarshalStrict(document, &read)
		in.settings, in.pods, in.host = read.Settings, read.Pods, read.Host
		return err
	case "Secret":
		var secret corev1.Secret
		err := yaml.UnmarshalStrict(document, &secret)
		secret.Data = map[string][]byte{}
		for key, value := range secret.StringData {
			secret.Data[key] = []byte(value)
		}
		in.secrets.items[secret.Name] = secret
		return err
	case "StorageBackend":
		var sb v1alpha1.StorageBackend
		err := yaml.UnmarshalStrict(document, &sb)
		in.Backends = append(in.Backends, sb)
		return err
	default:
		var p v1alpha1.RoutingPolicy
		err := yaml.UnmarshalStrict(document, &p)
		in.Policies = append(in.Policies, p)
		return err
	}
}

// fieldsOf lists all fields of a config, secrets too, which print masked.
func fieldsOf(config backends.Config) map[string]any {
	all := map[string]any{"S3": nil, "Local": nil}
	for name, value := range map[string]any{"S3": config.S3, "Local": config.Local} {
		if v := reflect.ValueOf(value); !v.IsNil() {
			fields := map[string]any{}
			for _, field := range reflect.VisibleFields(v.Elem().Type()) {
				if field.IsExported() {
					fields[field.Name] = v.Elem().FieldByIndex(field.Index).Interface()
				}
			}
			all[name] = fields
		}
	}
	return all
}
