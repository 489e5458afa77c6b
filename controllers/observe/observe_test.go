package observe

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/observe/observetest"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/buffer"
	"github.com/coulomb/artifact-store/test/faultproxy"
	"github.com/coulomb/artifact-store/test/servers"
)

var at = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

func newObserver(t *testing.T, metrics *Metrics) (*Observer, string) {
	t.Helper()
	root := t.TempDir()
	o := New(observetest.NewRegistrar(), buffer.New(64<<20, 8<<20), declared.Settings{LocalRoot: root}, metrics)
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o, root
}

// open is what the process has of a backend after a call of Open.
func open(t *testing.T, o *Observer, sb *v1alpha1.StorageBackend, declared []v1alpha1.StorageBackend) status.Opened {
	t.Helper()
	o.Open(t.Context(), sb, declared, HostLookup)
	return o.Opened()[sb.Name]
}

// clock is an Observer's time, which a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// moved gives an Observer a clock.
func moved(o *Observer) *clock {
	c := &clock{now: time.Now()}
	o.now = c.Now
	return c
}

// proxied is an observer whose clock a test moves, and a server behind a proxy
// that can spoil what goes to it.
func proxied(t *testing.T) (*Observer, *clock, servers.S3Server, *faultproxy.Proxy) {
	t.Helper()
	o, _ := newObserver(t, nil)
	server := servers.S3(t)
	proxy := faultproxy.HTTP(t, server.Endpoint)
	server.Endpoint = proxy.URL
	return o, moved(o), server, proxy
}

// keysOf resolves the references to the keys of a server.
func keysOf(server *servers.S3Server) declared.Lookup {
	return func(ref v1alpha1.ValueRef) (storage.Secret, *declared.Problem) {
		return storage.NewSecret(map[string]string{"access": server.AccessKey, "secret": server.SecretKey}[ref.Key]), nil
	}
}

// usable is the one series of the gauge.
func usable(t *testing.T, registry *prometheus.Registry) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "artifactstore_backend_usable" {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no such metric")
	return 0
}

func TestOneLostProbeIsNoStory(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	o, _ := newObserver(t, NewMetrics(registry))
	server := servers.S3(t)
	wire := observetest.NewCable(t, strings.TrimPrefix(server.Endpoint, "http://"))
	sb := &v1alpha1.StorageBackend{
		ObjectMeta: metav1.ObjectMeta{Name: "far", Generation: 1},
		Spec: v1alpha1.StorageBackendSpec{
			S3:    &v1alpha1.S3Spec{EndpointURL: "http://" + wire.Address(), Bucket: server.Bucket, AccessKeyRef: &v1alpha1.ValueRef{Name: "keys", Key: "access"}, SecretKeyRef: &v1alpha1.ValueRef{Name: "keys", Key: "secret"}},
			Probe: v1alpha1.ProbeSpec{FailureThreshold: 2},
		},
	}
	clock := moved(o)
	look := func() status.Observation {
		clock.add(time.Minute)
		return o.Observe(t.Context(), sb, nil, keysOf(&server))
	}
	if seen := look(); seen.Problem != nil || seen.ID == "" {
		t.Fatalf("%+v", seen)
	}
	opened := o.Opened()["far"].Store

	wire.Set(true)
	if seen := look(); seen.Problem != nil {
		t.Errorf("one lost probe counts already: %v", seen.Problem)
	}
	if usable := usable(t, registry); usable != 1 {
		t.Errorf("usable is %v after one lost probe", usable)
	}
	seen := look()
	if seen.Problem == nil || !seen.Problem.Lost || seen.Problem.Condition != v1alpha1.ConditionReachable || seen.ID == "" {
		t.Errorf("two lost probes: %+v", seen)
	}
	if usable := usable(t, registry); usable != 0 {
		t.Errorf("usable is %v after two lost probes", usable)
	}
	wire.Set(false)
	if seen := look(); seen.Problem != nil {
		t.Errorf("it is back: %v", seen.Problem)
	}
	if o.Opened()["far"].Store != opened {
		t.Error("the driver was opened anew though nothing that it is made of changed")
	}

	right := server.SecretKey
	server.SecretKey = "another"
	if seen := look(); seen.Problem == nil || seen.Problem.Reason != storage.ReasonSecretKeyWrong || seen.LastGood != status.LastGoodServes {
		t.Errorf("a wrong secret: %+v", seen)
	}
	if o.Opened()["far"].Store != opened {
		t.Error("the driver was replaced by one with a wrong secret")
	}
	server.SecretKey = right
	if seen := look(); seen.Problem != nil || o.Opened()["far"].Store != opened {
		t.Errorf("the secret is as it was: %+v", seen)
	}
	o.StandDown()
	families, err := registry.Gather()
	for _, family := range families {
		// By what a replica serves it says whether it looks or not.
		if family.GetType().String() == "GAUGE" && family.GetName() != "artifactstore_backend_taken_up_timestamp_seconds" {
			t.Errorf("whoever does not look any more still says %s", family.GetName())
		}
	}
	if err != nil || len(families) == 0 {
		t.Errorf("counts are left: %v, %v", families, err)
	}
	o.Forget("far")
	if left, err := registry.Gather(); err != nil || len(left) > 0 {
		t.Errorf("series of what is forgotten: %v, %v", left, err)
	}
}

func TestReadOnlyPlacesAreNotMarked(t *testing.T) {
	t.Parallel()
	o, root := newObserver(t, nil)
	sb := &v1alpha1.StorageBackend{
		ObjectMeta: metav1.ObjectMeta{Name: "archive", Generation: 1},
		Spec:       v1alpha1.StorageBackendSpec{Access: v1alpha1.ReadOnly, Local: &v1alpha1.LocalSpec{Path: root + "/a"}},
	}
	if err := os.Mkdir(sb.Spec.Local.Path, 0o750); err != nil {
		t.Fatal(err)
	}
	marker := filepath.Join(sb.Spec.Local.Path, filepath.FromSlash(storage.MarkerKey))
	if seen := o.Observe(t.Context(), sb, nil, HostLookup); seen.Problem == nil || seen.Problem.Reason != status.ReasonNoMarker {
		t.Errorf("%+v", seen)
	}
	if _, err := os.Stat(marker); !os.IsNotExist(err) {
		t.Errorf("a marker was written: %v", err)
	}
	sb.Spec.Access, sb.Generation = v1alpha1.ReadWrite, 2
	first := o.Observe(t.Context(), sb, nil, HostLookup)
	if first.Problem != nil {
		t.Fatal(first.Problem)
	}
	sb.Spec.Access, sb.Generation = v1alpha1.ReadOnly, 3
	if seen := o.Observe(t.Context(), sb, nil, HostLookup); seen.Problem != nil || seen.ID != first.ID {
		t.Errorf("%+v", seen)
	}
	// Another log's marker: neither written nor read any more.
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(marker, []byte("another-log id"), 0o600); err != nil {
		t.Fatal(err)
	}
	if seen := o.Observe(t.Context(), sb, nil, HostLookup); seen.Problem == nil || seen.Problem.Reason != status.ReasonForeignMarker {
		t.Errorf("%+v", seen)
	}
	if o.Opened()["archive"].Store != nil {
		t.Error("a foreign place is still read")
	}
}

func TestAFolderThatIsReplacedIsAnotherPlace(t *testing.T) {
	t.Parallel()
	o, root := newObserver(t, nil)
	path := filepath.Join(root, "a")
	sb := &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: "volume", Generation: 1}, Spec: v1alpha1.StorageBackendSpec{Local: &v1alpha1.LocalSpec{Path: path}}}
	if err := os.Mkdir(path, 0o750); err != nil {
		t.Fatal(err)
	}
	first := o.Observe(t.Context(), sb, nil, HostLookup)
	if first.Problem != nil {
		t.Fatal(first.Problem)
	}
	if err := os.Rename(path, path+"-away"); err != nil {
		t.Fatal(err)
	}
	if seen := o.Observe(t.Context(), sb, nil, HostLookup); seen.Problem == nil || seen.Problem.Reason != storage.ReasonFolderNotFound {
		t.Errorf("the folder is gone: %+v", seen.Problem)
	}
	if err := os.Rename(path+"-away", path); err != nil {
		t.Fatal(err)
	}
	if seen := o.Observe(t.Context(), sb, nil, HostLookup); seen.Problem != nil || seen.ID != first.ID {
		t.Errorf("it is back: %+v", seen)
	}
}

// TestAnEditThatLeadsElsewhereIsRefused while the log names blobs where it led
// before: an empty bucket of the same name is not marked, and what was read is read on.
func TestAnEditThatLeadsElsewhereIsRefused(t *testing.T) {
	t.Parallel()
	o, _ := newObserver(t, nil)
	first, second := servers.S3(t), servers.OwnMinIO(t, false).Bucket(t)
	second.Bucket = first.Bucket
	if _, err := second.Client().CreateBucket(t.Context(), &sdk.CreateBucketInput{Bucket: &second.Bucket}); err != nil {
		t.Fatal(err)
	}
	sb := bucketOf(first)
	seen := o.Observe(t.Context(), sb, nil, keysOf(&first))
	if seen.Problem != nil {
		t.Fatal(seen.Problem)
	}
	sb.Status = status.Backend(seen, nil, sb.Status)
	serving := o.Opened()[sb.Name].Store
	r := o.registrar.(*observetest.Registrar)
	r.Find(seen.ID, registrar.Findings{Live: 3})
	sb.Generation, sb.Spec.S3.EndpointURL = 2, second.Endpoint
	again := o.Observe(t.Context(), sb, nil, keysOf(&second))
	if again.Problem == nil || again.Problem.Reason != status.ReasonForeignMarker || !strings.Contains(again.Problem.Message, "the log names 3 live locations") || again.LastGood != status.LastGoodNone {
		t.Errorf("%+v", again)
	}
	if left, err := second.Client().ListObjectsV2(t.Context(), &sdk.ListObjectsV2Input{Bucket: &second.Bucket}); err != nil || len(left.Contents) > 0 {
		t.Errorf("something was written there: %+v, %v", left, err)
	}
	if now := o.Opened()[sb.Name]; now.Store != serving || now.ID != seen.ID {
		t.Errorf("it is not read any more: %+v", now)
	}
	// Nothing is lost by it: then it is another backend.
	r.Find(seen.ID, registrar.Findings{})
	if again := o.Observe(t.Context(), sb, nil, keysOf(&second)); again.Problem != nil || again.ID == seen.ID {
		t.Errorf("%+v", again)
	}
}

// TestLogAway: while the log cannot be asked, a backend that is what it was stays
// ready; one that was not known before is not, and its place is not blamed.
func TestLogAway(t *testing.T) {
	t.Parallel()
	o, root := newObserver(t, nil)
	r := o.registrar.(*observetest.Registrar)
	folder := func(name string) *v1alpha1.StorageBackend {
		path := filepath.Join(root, name)
		if err := os.Mkdir(path, 0o750); err != nil {
			t.Fatal(err)
		}
		return &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1}, Spec: v1alpha1.StorageBackendSpec{Local: &v1alpha1.LocalSpec{Path: path}}}
	}
	known, fresh := folder("known"), folder("fresh")
	if seen := o.Observe(t.Context(), known, nil, nil); seen.Problem != nil {
		t.Fatal(seen.Problem)
	}
	r.TakeLog(true)
	for range 3 {
		if seen := o.Observe(t.Context(), known, nil, nil); seen.Problem != nil {
			t.Errorf("a backend that was ready: %+v", seen.Problem)
		}
	}
	seen := o.Observe(t.Context(), fresh, nil, nil)
	if seen.Problem == nil || seen.Problem.Reason != status.ReasonNotRecorded || !seen.Problem.Lost {
		t.Errorf("a new one: %+v", seen.Problem)
	}
	r.TakeLog(false)
	if seen := o.Observe(t.Context(), fresh, nil, nil); seen.Problem != nil {
		t.Errorf("afterwards: %+v", seen.Problem)
	}
}

// TestOpenWritesNothing: a replica that is not the leader waits for the leader's word.
func TestOpenWritesNothing(t *testing.T) {
	t.Parallel()
	o, root := newObserver(t, nil)
	path := filepath.Join(root, "a")
	if err := os.Mkdir(path, 0o750); err != nil {
		t.Fatal(err)
	}
	sb := &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: "volume", Generation: 1}, Spec: v1alpha1.StorageBackendSpec{Local: &v1alpha1.LocalSpec{Path: path}}}
	if opened := open(t, o, sb, nil); opened.Problem == nil || opened.Problem.Reason != status.ReasonNotObserved {
		t.Errorf("%+v", opened)
	}
	if left, err := os.ReadDir(path); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	leader := New(o.registrar, buffer.New(8<<20, 1<<20), o.settings, nil)
	defer leader.Close()
	sb.Status = status.Backend(leader.Observe(t.Context(), sb, nil, HostLookup), nil, sb.Status)
	if opened := open(t, o, sb, nil); opened.Problem != nil || opened.ID != sb.Status.ID || opened.Store == nil {
		t.Errorf("%+v", opened)
	}
}

// TestProbesNeedNoMemoryOfUploads: a place is Ready also while every buffer is out.
func TestProbesNeedNoMemoryOfUploads(t *testing.T) {
	t.Parallel()
	o, root := newObserver(t, nil)
	if _, err := o.pool.GetN(t.Context(), o.pool.Count()); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(root, "a")
	if err := os.Mkdir(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	server := servers.S3(t)
	ref := func(key string) *v1alpha1.ValueRef { return &v1alpha1.ValueRef{Name: "keys", Key: key} }
	for _, spec := range []v1alpha1.StorageBackendSpec{
		{Local: &v1alpha1.LocalSpec{Path: folder}},
		{S3: &v1alpha1.S3Spec{EndpointURL: server.Endpoint, Bucket: server.Bucket, AccessKeyRef: ref("access"), SecretKeyRef: ref("secret")}},
	} {
		sb := &v1alpha1.StorageBackend{Spec: spec}
		sb.Name, sb.Generation = declared.Driver(sb), 1
		sb.Spec.Probe = v1alpha1.ProbeSpec{FailureThreshold: 1, Timeout: &metav1.Duration{Duration: 10 * time.Second}}
		if seen := o.Observe(t.Context(), sb, nil, keysOf(&server)); seen.Problem != nil || seen.ID == "" {
			t.Errorf("%s: %+v", sb.Name, seen.Problem)
		}
	}
}

// TestPlacesDoNotOverlap: nothing is written to a place that another backend has.
func TestPlacesDoNotOverlap(t *testing.T) {
	t.Parallel()
	o, root := newObserver(t, nil)
	inner := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(inner, 0o750); err != nil {
		t.Fatal(err)
	}
	declare := func(name, path string) v1alpha1.StorageBackend {
		return v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1}, Spec: v1alpha1.StorageBackendSpec{Local: &v1alpha1.LocalSpec{Path: path}}}
	}
	peers := []v1alpha1.StorageBackend{declare("first", filepath.Dir(inner)), declare("second", inner)}
	if seen := o.Observe(t.Context(), &peers[1], peers, HostLookup); seen.Problem == nil || seen.Problem.Reason != declared.ReasonPlaceOverlaps || !strings.Contains(seen.Problem.Message, `"first"`) {
		t.Errorf("%+v", seen.Problem)
	}
	if opened := open(t, o, &peers[1], peers); opened.Problem == nil || opened.Problem.Reason != declared.ReasonPlaceOverlaps || opened.Store != nil {
		t.Errorf("%+v", opened)
	}
	if left, err := os.ReadDir(inner); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	if seen := o.Observe(t.Context(), &peers[0], peers, HostLookup); seen.Problem != nil {
		t.Errorf("%+v", seen.Problem)
	}
	if seen := o.Observe(t.Context(), &peers[1], peers[1:], HostLookup); seen.Problem != nil {
		t.Errorf("the other is gone: %+v", seen.Problem)
	}
}
