package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/test/programs"
)

// TestGivingUpABackend whose volume is lost: it is deleted when an
// administrator says so, the log has it, and who reads is told; everything else goes on.
func TestGivingUpABackend(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	root, data := t.TempDir(), t.TempDir()
	database := "sqlite://" + filepath.Join(data, "registry.db")
	folders := map[string]string{}
	for _, name := range []string{"lost", "kept"} {
		folders[name] = filepath.Join(root, name)
		if err := os.Mkdir(folders[name], 0o750); err != nil {
			t.Fatal(err)
		}
		n.apply(t, &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.StorageBackendSpec{Local: &v1alpha1.LocalSpec{Path: folders[name]}}})
	}
	route := func(to string) *v1alpha1.RoutingPolicy {
		return &v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: v1alpha1.RoutingPolicySpec{Rules: []v1alpha1.RoutingRule{{Backends: []string{to}}}}}
	}
	n.apply(t, route("lost"))
	manager := programs.StartManager(t, []string{"--kubeconfig", n.kubeconfig, "--namespace", n.name, "--data-dir", data, "--local-root", root}, []string{"ARTIFACTSTORE_DATABASE=" + database})
	manager.Token = n.token
	w := &world{manager: manager, database: database, cli: programs.CLI{Server: manager.URL, Token: n.token}}
	goesTo := func(backend string) {
		t.Helper()
		programs.Eventually(t, func() error {
			if r := w.cli.Exec(background, t, "routing", "explain", "--producer", "e2e", "--retention-class", "test", "-o", "json"); !strings.Contains(r.Stdout, `"backend": "`+backend+`"`) || !strings.Contains(r.Stdout, `"backendId"`) {
				return fmt.Errorf("want it to go to %s: %s", backend, r)
			}
			return nil
		})
	}
	goesTo("lost")
	tree := t.TempDir()
	if err := os.WriteFile(filepath.Join(tree, "a"), []byte("content that is lost"), 0o600); err != nil {
		t.Fatal(err)
	}
	lost := w.push(t, tree, "tool", "1")
	programs.Eventually(t, func() error {
		if sb := n.backend(t, "lost"); !sb.Status.InUse || len(sb.Finalizers) == 0 {
			return fmt.Errorf("in use %v, finalizers %v", sb.Status.InUse, sb.Finalizers)
		}
		return nil
	})

	n.apply(t, route("kept"))
	goesTo("kept")
	if err := os.RemoveAll(folders["lost"]); err != nil {
		t.Fatal(err)
	}
	sb := &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: "lost", Namespace: n.name}}
	if err := n.admin.Delete(background, sb); err != nil {
		t.Fatal(err)
	}
	programs.Eventually(t, func() error {
		if err := n.admin.Get(background, client.ObjectKeyFromObject(sb), sb); err != nil {
			return err
		}
		if is := meta.FindStatusCondition(sb.Status.Conditions, "Ready"); is == nil || is.Reason != "DeletionBlocked" || !strings.Contains(is.Message, "names 2 live locations") {
			return fmt.Errorf("%+v", is)
		}
		return nil
	})
	before := sb.DeepCopy()
	sb.Annotations = map[string]string{v1alpha1.AbandonAnnotation: sb.Status.ID}
	if err := n.admin.Patch(background, sb, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	programs.Eventually(t, func() error {
		if err := n.admin.Get(background, client.ObjectKeyFromObject(sb), sb); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is still there: %v", err)
		}
		return nil
	})

	ref := registry.PackageRef{Producer: "e2e", Name: "tool", Version: "1"}
	p := programs.JSON[registry.Package](t, w.cli, "show", ref.String())
	if p.Abandoned == 0 || p.BackendID != lost.BackendID {
		t.Errorf("%+v", p)
	}
	says := fmt.Sprintf("was abandoned (event %d)", p.Abandoned)
	if r := w.cli.Run(t, programs.ExitFailed, "pull", ref.String(), "-d", t.TempDir()); !strings.Contains(r.Stderr, says) || !strings.Contains(r.Stderr, "410") {
		t.Errorf("want it to say %q: %s", says, r)
	}
	if r := w.cli.Run(t, programs.ExitDone, "events"); !strings.Contains(r.Stdout, "v1.backend.abandoned") {
		t.Errorf("%s", r)
	}
	w.checkViews(t)
	// The content is there again when it is pushed again, to where packages go now.
	w.push(t, tree, "tool", "1")
	if content, err := os.ReadFile(filepath.Join(w.pull(t, ref), "a")); string(content) != "content that is lost" {
		t.Errorf("%q, %v", content, err)
	}
	w.cli.Run(t, programs.ExitDone, "health")
	w.stop(t)
}
