package controllers

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/test/servers"
)

// writesTo counts what a client changes, by method and path.
type writesTo struct {
	http.RoundTripper
	mu   sync.Mutex
	made []string
}

func (w *writesTo) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		w.mu.Lock()
		w.made = append(w.made, r.Method+" "+r.URL.Path)
		w.mu.Unlock()
	}
	return w.RoundTripper.RoundTrip(r)
}

func (w *writesTo) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.made)
}

// countWrites has a config's clients counted.
func countWrites(config *rest.Config) *writesTo {
	w := &writesTo{}
	config.Wrap(func(rt http.RoundTripper) http.RoundTripper {
		w.RoundTripper = rt
		return w
	})
	return w
}

// TestNothingIsWrittenWhileNothingChanges, whatever state a backend is in.
func TestNothingIsWrittenWhileNothingChanges(t *testing.T) {
	t.Parallel()
	config := controlPlane(t)
	writes := countWrites(config)
	c := startCluster(t, config, false)
	server := servers.S3(t)
	c.secret("keys", server)
	lastKeys := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "last"}, StringData: map[string]string{"access": server.AccessKey, "secret": server.SecretKey}}
	c.create(lastKeys)
	c.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "wrong"}, StringData: map[string]string{"access": server.AccessKey, "secret": "of-somebody-else"}})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	in := func(prefix string, change func(*v1alpha1.S3Spec)) func(*v1alpha1.StorageBackendSpec) {
		return func(spec *v1alpha1.StorageBackendSpec) {
			spec.S3.KeyPrefix = prefix
			if change != nil {
				change(spec.S3)
			}
		}
	}
	well := c.s3("well", server, in("well", nil))
	last := c.s3("last", server, in("last", func(s *v1alpha1.S3Spec) { s.AccessKeyRef.Name, s.SecretKeyRef.Name = "last", "last" }))
	refused := c.s3("refused", server, in("refused", func(s *v1alpha1.S3Spec) { s.AccessKeyRef.Name, s.SecretKeyRef.Name = "wrong", "wrong" }))
	unresolved := c.s3("unresolved", server, in("unresolved", func(s *v1alpha1.S3Spec) { s.AccessKeyRef.Name = "gone" }))
	dead := c.s3("dead", server, in("dead", func(s *v1alpha1.S3Spec) { s.EndpointURL = "http://" + closed.Addr().String() }))
	folder := filepath.Join(c.root, "folder")
	if err := os.Mkdir(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	local := &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: "local"}, Spec: v1alpha1.StorageBackendSpec{Local: &v1alpha1.LocalSpec{Path: folder}, Probe: well.Spec.Probe}}
	c.create(local)
	p := &v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: v1alpha1.RoutingPolicySpec{Rules: []v1alpha1.RoutingRule{
		{Match: &v1alpha1.RoutingMatch{Producers: []string{"a"}}, Backends: []string{"refused", "gone", "well"}}, {Backends: []string{"dead", "unresolved"}},
	}}}
	c.create(p)
	c.until(last, "Ready", metav1.ConditionTrue, status.ReasonReady)
	if err := c.client.Delete(t.Context(), lastKeys); err != nil {
		t.Fatal(err)
	}
	c.until(last, "Ready", metav1.ConditionFalse, declared.ReasonSecretNotFound)
	c.until(well, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.until(local, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.until(refused, "Ready", metav1.ConditionFalse, storage.ReasonSecretKeyWrong)
	c.until(unresolved, "Ready", metav1.ConditionFalse, declared.ReasonSecretNotFound)
	c.until(dead, "Ready", metav1.ConditionFalse, storage.ReasonConnectionRefused)
	c.until(p, "Ready", metav1.ConditionFalse, status.ReasonNoReadyBackend)
	eventually(t, func() string { // the full probes are behind us
		for _, sb := range []*v1alpha1.StorageBackend{well, local} {
			if err := c.client.Get(t.Context(), clientKey(sb), sb); err != nil || len(sb.Status.Capabilities) == 0 {
				return fmt.Sprintf("%s has no capabilities, %v", sb.Name, err)
			}
		}
		return ""
	})
	probed := []string{"well", "last", "refused", "unresolved", "local"}
	// Two looks later whatever was to be written is.
	later := func(looks int) {
		t.Helper()
		until := map[string]int{}
		for _, name := range probed {
			until[name] = c.looks(name) + looks
		}
		eventuallyIn(t, time.Minute, func() string {
			for _, name := range probed {
				if n := c.looks(name); n < until[name] {
					return fmt.Sprintf("%s was looked at %d times", name, n)
				}
			}
			return ""
		})
	}
	later(2)
	before := writes.list()
	later(3)
	if now := writes.list(); len(now) != len(before) {
		t.Errorf("something was written: %v", now[len(before):])
	}
	if len(before) < 12 {
		t.Errorf("only %d writes were counted before: %v", len(before), before)
	}
}

// TestClusterLooksAgainWhenAsked, by the small and the full probe, and not for any other annotation.
func TestClusterLooksAgainWhenAsked(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	path := filepath.Join(c.root, "asked")
	if err := os.Mkdir(path, 0o750); err != nil {
		t.Fatal(err)
	}
	sb := &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: "asked"}, Spec: v1alpha1.StorageBackendSpec{
		Local: &v1alpha1.LocalSpec{Path: path}, Probe: v1alpha1.ProbeSpec{Interval: &metav1.Duration{Duration: time.Hour}},
	}}
	c.create(sb)
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
	eventually(t, func() string {
		if err := c.client.Get(t.Context(), clientKey(sb), sb); err != nil || len(sb.Status.Capabilities) == 0 {
			return fmt.Sprintf("no full probe was made, %v", err)
		}
		return ""
	})
	ask := func(value string) {
		c.edit(sb, func() {
			sb.Annotations = map[string]string{v1alpha1.RequestAnnotation: value, "somebody.else/wrote": value}
		})
	}
	handled := func(value string) {
		t.Helper()
		eventually(t, func() string {
			if err := c.client.Get(t.Context(), clientKey(sb), sb); err != nil || sb.Status.LastHandledRequest != value {
				return fmt.Sprintf("handled is %q, want %q; %v", sb.Status.LastHandledRequest, value, err)
			}
			return ""
		})
	}
	looked := c.looks("asked")
	c.edit(sb, func() { sb.Annotations = map[string]string{"somebody.else/wrote": "something"} })
	ask("1")
	handled("1")
	// The look that was asked for, and one for what the full probe found: the other annotation made none.
	if n := c.looks("asked") - looked; n != 2 {
		t.Errorf("%d looks", n)
	}
	if err := os.Rename(path, path+"-away"); err != nil {
		t.Fatal(err)
	}
	ask("2")
	c.until(sb, "Ready", metav1.ConditionFalse, storage.ReasonFolderNotFound)
	handled("2")
	if err := os.Rename(path+"-away", path); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("3", 1000)
	ask(long)
	c.until(sb, "Ready", metav1.ConditionTrue, status.ReasonReady)
	handled(long[:128])
	// The same value asks for nothing.
	looked = c.looks("asked")
	c.edit(sb, func() { sb.Labels = map[string]string{"a": "b"} })
	if n := c.looks("asked") - looked; n != 0 {
		t.Errorf("%d looks", n)
	}
}

// TestClusterShowsWhatIsWrongAtAGlance asks the API server for the table that kubectl get prints.
func TestClusterShowsWhatIsWrongAtAGlance(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	good := c.local("good")
	path := filepath.Join(c.root, "bad")
	if err := os.Mkdir(path, 0o750); err != nil {
		t.Fatal(err)
	}
	bad := &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: "bad"}, Spec: v1alpha1.StorageBackendSpec{
		Local: &v1alpha1.LocalSpec{Path: path}, Verification: &v1alpha1.VerificationSpec{Schedule: "H H * * *", Suspend: true},
	}}
	c.create(bad)
	c.until(good, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.until(bad, "Ready", metav1.ConditionTrue, status.ReasonReady)
	c.registrar.Find(good.Status.ID, registrar.Findings{Live: 3, LastVerified: time.Now(), OldestVerified: time.Now()})
	ask := func(sb *v1alpha1.StorageBackend) {
		c.edit(sb, func() { sb.Annotations = map[string]string{v1alpha1.RequestAnnotation: "now"} })
	}
	ask(good)
	c.until(good, "Verified", metav1.ConditionTrue, status.ReasonIntact)
	if err := os.Rename(path, path+"-away"); err != nil {
		t.Fatal(err)
	}
	ask(bad)
	c.until(bad, "Ready", metav1.ConditionFalse, storage.ReasonFolderNotFound)
	c.until(bad, "VerificationScheduled", metav1.ConditionFalse, status.ReasonVerificationSuspended)
	p := &v1alpha1.RoutingPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: v1alpha1.RoutingPolicySpec{Rules: []v1alpha1.RoutingRule{{Backends: []string{"bad"}}}}}
	c.create(p)
	c.until(p, "Ready", metav1.ConditionFalse, status.ReasonNoReadyBackend)

	for _, tt := range []struct {
		resource, shown, wide string
		rows                  map[string]string
	}{
		{"storagebackends", "Name Driver Ready Reason Verified Scheduled Age", "Access In use Place Message", map[string]string{
			"good": "local True Ready Intact <nil>", "bad": "local False FolderNotFound NothingStored False",
		}},
		{"routingpolicies", "Name Accepted Resolved Ready Reason Age", "Message", map[string]string{"p": "True True False NoReadyBackend"}},
	} {
		var shown, wide []string
		table := c.printed(tt.resource)
		for _, column := range table.ColumnDefinitions {
			if column.Priority == 0 {
				shown = append(shown, column.Name)
			} else {
				wide = append(wide, column.Name)
			}
		}
		if got := strings.Join(shown, " "); got != tt.shown {
			t.Errorf("%s: kubectl get shows %s", tt.resource, got)
		}
		if got := strings.Join(wide, " "); got != tt.wide {
			t.Errorf("%s: kubectl get -o wide shows %s besides", tt.resource, got)
		}
		rows := map[string]string{}
		for _, row := range table.Rows {
			var cells []string
			for i, cell := range row.Cells {
				if table.ColumnDefinitions[i].Priority == 0 && table.ColumnDefinitions[i].Name != "Age" {
					cells = append(cells, fmt.Sprint(cell))
				}
			}
			rows[cells[0]] = strings.Join(cells[1:], " ")
		}
		if diff := cmp.Diff(tt.rows, rows); diff != "" {
			t.Errorf("%s: %s", tt.resource, diff)
		}
	}
}

// printed is what kubectl get asks for.
func (c *cluster) printed(resource string) (table metav1.Table) {
	c.t.Helper()
	http, err := rest.HTTPClientFor(controlPlane(c.t))
	if err != nil {
		c.t.Fatal(err)
	}
	config := controlPlane(c.t)
	request, err := newRequest(strings.TrimSuffix(config.Host, "/") + "/apis/artifactstore.dev/v1alpha1/namespaces/" + c.namespace + "/" + resource)
	if err != nil {
		c.t.Fatal(err)
	}
	answer, err := http.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&table); err != nil {
		c.t.Fatal(err)
	}
	return table
}

func newRequest(url string) (*http.Request, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err == nil {
		request.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	}
	return request, err
}
