package e2e

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/event"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

// nextMinute bounds the wait for what a CronJob begins at the next full minute.
const nextMinute = time.Minute + programs.Patience

// TestVerification follows spec.verification with Kubernetes' own controllers:
// they make Jobs of CronJobs and Pods of Jobs, and collect what belongs to
// something that is gone. The test is the kubelet.
func TestVerification(t *testing.T) {
	t.Parallel()
	newNamespace(t) // the API server is there
	admin, err := controlPlane.env.AddUser(envtest.User{Name: "kube-controller-manager", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := admin.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	servers.ControllerManager(t, kubeconfig)
	t.Run("FromScheduleToCollection", fromScheduleToCollection)
	t.Run("KilledBeforeTheStatus", killedBeforeTheStatus)
	t.Run("OfAnEarlierBackend", ofAnEarlierBackend)
	t.Run("OfAFolder", ofAFolder)
}

// verified is a place that is verified each minute.
type verified struct{ place }

func (v verified) spec(t *testing.T, c control) v1alpha1.StorageBackendSpec {
	spec := v.place.spec(t, c)
	spec.Verification = &v1alpha1.VerificationSpec{Schedule: "* * * * *"}
	return spec
}

// TestVerificationWithoutKubernetes: the manager itself begins the run.
func TestVerificationWithoutKubernetes(t *testing.T) {
	t.Parallel()
	where := verified{newBucket(t)}
	w := newWorld(t, newFiles(t), sqlite(t), t.TempDir(), "objects", map[string]place{"objects": where})
	tree := writeTree(t, 5, sizes{small: 8, large: 1})
	stored := w.blobs(t, w.push(t, tree, "tool", "1"), w.backends(t)["objects"].ID)
	damaged := fileDigests(t, w, tree)["large/0.bin"]
	flip(t, where, damaged)
	programs.EventuallyWithin(t, nextMinute, func() error {
		if !w.told(t, event.KindLocationFailed, damaged.String()) {
			return fmt.Errorf("no event says that %s failed", damaged)
		}
		return w.wasVerified(t, stored, 1)
	})
	w.waitCondition(t, "objects", v1alpha1.ConditionVerified, metav1.ConditionFalse, "CorruptLocations")
	if health := w.health(t); health.Status != registry.HealthDegraded {
		t.Errorf("%+v", health)
	}
	programs.Eventually(t, func() error {
		log, err := os.ReadFile(w.manager.Log)
		if err == nil && (!strings.Contains(string(log), "reason=CorruptLocations") || !strings.Contains(string(log), "corrupt=1")) {
			err = errors.New("its log does not tell")
		}
		return err
	})
	w.stop(t)
}

// fromScheduleToCollection: a run of the schedule finds all right, the next one
// finds damage, and what the runs left goes with the backend.
func fromScheduleToCollection(t *testing.T) {
	t.Parallel()
	n, where := newNamespace(t), verified{newBucketOn(t, servers.MinIO, true)}
	w := newWorld(t, n, servers.Postgres(t), t.TempDir(), "objects", map[string]place{"objects": where})
	tree := writeTree(t, 5, sizes{small: 8, large: 1})
	stored := w.blobs(t, w.push(t, tree, "tool", "1"), w.backends(t)["objects"].ID)
	n.restrict(t)

	// The first run is the schedule's. A pod that could not read is followed by another.
	job := n.scheduledJob(t)
	pod := n.podOf(t, job)
	n.onlyItsOwn(t, pod)
	n.noneBesideAnother(t)
	n.ended(t, pod, programs.ExitFailed)
	pod = n.podOf(t, job, pod.UID)
	if done := n.kubelet(t, w.manager, pod); done.Code != programs.ExitDone {
		t.Fatalf("everything is right: %s", done)
	}
	n.jobIs(t, job, batchv1.JobComplete, "")
	w.waitCondition(t, "objects", v1alpha1.ConditionVerified, metav1.ConditionTrue, "Intact")
	w.waitCondition(t, "objects", v1alpha1.ConditionVerificationScheduled, metav1.ConditionTrue, "Scheduled")
	if err := w.wasVerified(t, stored, 0); err != nil {
		t.Error(err)
	}
	if health := w.health(t); health.Status != registry.HealthOK {
		t.Errorf("%+v", health)
	}

	// Damage fails the Job at once, and is told everywhere.
	damaged := fileDigests(t, w, tree)["large/0.bin"]
	flip(t, where, damaged)
	job = n.jobByHand(t)
	pod = n.podOf(t, job)
	if done := n.kubelet(t, w.manager, pod); done.Code != programs.ExitIntegrity || !strings.Contains(done.Stdout, damaged.String()) {
		t.Fatalf("%s is damaged: %s", damaged, done)
	}
	n.jobIs(t, job, batchv1.JobFailed, batchv1.JobReasonPodFailurePolicy)
	if pods := n.podsOf(t, job); len(pods) != 1 {
		t.Errorf("damage is read %d times", len(pods))
	}
	w.waitCondition(t, "objects", v1alpha1.ConditionVerified, metav1.ConditionFalse, "CorruptLocations")
	if !w.told(t, event.KindLocationFailed, damaged.String()) {
		t.Error("no event says that it failed")
	}
	sb := n.backend(t, "objects")
	if !slices.Equal(sb.Status.FailedLocations, []v1alpha1.FailedLocation{{SHA256: damaged.String(), Reason: "corrupt"}}) {
		t.Errorf("%+v", sb.Status.FailedLocations)
	}
	if health := w.health(t); health.Status != registry.HealthDegraded {
		t.Errorf("%+v", health)
	}

	// The backend goes, and all of it.
	if err := n.admin.Delete(background, sb); err != nil {
		t.Fatal(err)
	}
	w.waitCondition(t, "objects", v1alpha1.ConditionReady, metav1.ConditionFalse, "DeletionBlocked")
	w.waitCondition(t, "objects", v1alpha1.ConditionVerificationScheduled, metav1.ConditionFalse, "VerificationSuspended")
	if left := n.left(t); !strings.Contains(left, "CronJob") || !strings.Contains(left, "Job "+job.Name) || !strings.Contains(left, "Pod "+pod.Name) {
		t.Fatalf("there is only %q", left)
	}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AbandonAnnotation, sb.Status.ID)
	if err := n.admin.Patch(background, sb, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
	programs.Eventually(t, func() error {
		if err := n.admin.Get(background, client.ObjectKeyFromObject(sb), sb); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the backend is still there: %v", err)
		}
		if left := n.left(t); left != "" {
			return fmt.Errorf("not collected: %s", left)
		}
		return nil
	})
	w.stop(t)
}

// killedBeforeTheStatus: a manager that was killed after the API server had
// taken the CronJob, and before it heard of that or wrote a status, finds it again.
func killedBeforeTheStatus(t *testing.T) {
	t.Parallel()
	n, where := newNamespace(t), verified{newBucket(t)}
	through, taken := n.withholding(t)
	backend(t, n, "objects", where.spec(t, n))
	w := &world{control: through, database: servers.Postgres(t), dataDir: t.TempDir(), localRoot: t.TempDir()}
	w.start(t)
	select {
	case <-taken:
	case <-time.After(programs.Patience):
		t.Fatal("no CronJob is made")
	}
	w.manager.Kill()
	made := n.cronJobs(t)
	if len(made) != 1 {
		t.Fatalf("%d CronJobs are made", len(made))
	}
	if is := meta.FindStatusCondition(n.conditions(t, "objects"), v1alpha1.ConditionVerificationScheduled); is != nil {
		t.Fatalf("the status tells of it already: %+v", is)
	}

	w.control = n
	w.start(t)
	w.waitCondition(t, "objects", v1alpha1.ConditionVerificationScheduled, metav1.ConditionTrue, "Scheduled")
	if now := n.cronJobs(t); len(now) != 1 || now[0].UID != made[0].UID || now[0].Generation != 1 {
		t.Errorf("%d CronJobs, the first is %+v; want that of %+v", len(now), now[0].ObjectMeta, made[0].ObjectMeta)
	}
	w.stop(t)
}

// ofAnEarlierBackend: the CronJob of a StorageBackend that had the same name is
// not taken for this one's. It is collected, and another is made.
func ofAnEarlierBackend(t *testing.T) {
	t.Parallel()
	n, where := newNamespace(t), verified{newBucket(t)}
	w := newWorld(t, n, servers.Postgres(t), t.TempDir(), "objects", map[string]place{"objects": where})
	var cronJob batchv1.CronJob
	programs.Eventually(t, func() error {
		return n.admin.Get(background, client.ObjectKey{Namespace: n.name, Name: "objects-verify"}, &cronJob)
	})
	// As if it were of one that is gone; the collector sees that by itself.
	before := cronJob.DeepCopy()
	cronJob.OwnerReferences[0].UID = "11111111-2222-3333-4444-555555555555"
	if err := n.admin.Patch(background, &cronJob, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	programs.Eventually(t, func() error {
		all := n.cronJobs(t)
		if len(all) != 1 || all[0].UID == before.UID || !metav1.IsControlledBy(&all[0], n.backend(t, "objects")) {
			return fmt.Errorf("%d CronJobs: %+v", len(all), all)
		}
		return nil
	})
	w.waitCondition(t, "objects", v1alpha1.ConditionVerificationScheduled, metav1.ConditionTrue, "Scheduled")
	w.stop(t)
}

// ofAFolder: its pod does not see the folder, and has the manager read it.
func ofAFolder(t *testing.T) {
	t.Parallel()
	n, root := newNamespace(t), t.TempDir()
	where := verified{newFolder(t, root, "volume")}
	w := newWorld(t, n, servers.Postgres(t), root, "volume", map[string]place{"volume": where})
	tree := writeTree(t, 7, sizes{small: 3, large: 1})
	w.push(t, tree, "tool", "1")
	damaged := fileDigests(t, w, tree)["large/0.bin"]
	flip(t, where, damaged)
	w.waitCondition(t, "volume", v1alpha1.ConditionVerificationScheduled, metav1.ConditionTrue, "Scheduled")
	job := n.jobByHand(t)
	if done := n.kubelet(t, w.manager, n.podOf(t, job)); done.Code != programs.ExitIntegrity || !strings.Contains(done.Stdout, damaged.String()) {
		t.Errorf("%s is damaged: %s", damaged, done)
	}
	n.jobIs(t, job, batchv1.JobFailed, batchv1.JobReasonPodFailurePolicy)
	w.waitCondition(t, "volume", v1alpha1.ConditionVerified, metav1.ConditionFalse, "CorruptLocations")
	w.stop(t)
}

// wasVerified fails unless there is an event of a run that found all blobs of the
// backend "objects" right but for those that are corrupt, and each of them was looked at.
func (w *world) wasVerified(t *testing.T, stored map[digest.Digest]int64, corrupt int) error {
	t.Helper()
	if counts := fmt.Sprintf(`"corrupt":%d,`, corrupt); !w.told(t, event.KindLocationVerified, counts) {
		return fmt.Errorf("no event says that a run found %d corrupt", corrupt)
	}
	if counts := fmt.Sprintf(`"verified":%d}`, len(stored)-corrupt); !w.told(t, event.KindLocationVerified, counts) {
		return fmt.Errorf("no event says that a run found %d right", len(stored)-corrupt)
	}
	page, err := w.manager.Client(t).ListLocations(background, "objects", registry.LocationQuery{})
	if err != nil {
		return err
	}
	for _, l := range page.Locations {
		if _, there := stored[l.Digests.SHA256]; !there || l.Verified.IsZero() {
			return fmt.Errorf("%s was not looked at", l.Digests.SHA256)
		}
	}
	if len(page.Locations) != len(stored) {
		return fmt.Errorf("%d locations, want %d", len(page.Locations), len(stored))
	}
	return nil
}

// told reports whether an event of the kind names the digest.
func (w *world) told(t *testing.T, kind, name string) bool {
	t.Helper()
	page, err := w.manager.Client(t).ReadEvents(background, registry.EventQuery{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(page.Events, func(e registry.Event) bool { return e.Kind == kind && strings.Contains(string(e.Payload), name) })
}
