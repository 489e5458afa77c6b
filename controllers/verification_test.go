package controllers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/cronjobs"
	"github.com/coulomb/artifact-store/controllers/declared"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/registry/verify"
)

// verified declares a folder that is verified each night, and probed often.
func (c *cluster) verified(name string, change func(*v1alpha1.StorageBackendSpec)) *v1alpha1.StorageBackend {
	c.t.Helper()
	path := filepath.Join(c.root, name)
	if err := os.Mkdir(path, 0o750); err != nil {
		c.t.Fatal(err)
	}
	sb := &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.StorageBackendSpec{
		Local:        &v1alpha1.LocalSpec{Path: path},
		Verification: &v1alpha1.VerificationSpec{Schedule: "H H(0-5) * * *"},
		Probe:        v1alpha1.ProbeSpec{Interval: &metav1.Duration{Duration: 5 * time.Second}, Timeout: &metav1.Duration{Duration: 3 * time.Second}},
	}}
	if change != nil {
		change(&sb.Spec)
	}
	c.create(sb)
	return sb
}

// cronJob waits until the backend's CronJob is as it should be.
func (c *cluster) cronJob(sb *v1alpha1.StorageBackend, wrong func(*batchv1.CronJob) string) *batchv1.CronJob {
	c.t.Helper()
	var found batchv1.CronJob
	eventually(c.t, func() string {
		found = batchv1.CronJob{}
		if err := c.client.Get(c.t.Context(), types.NamespacedName{Namespace: c.namespace, Name: sb.Name + "-verify"}, &found); err != nil {
			return err.Error()
		}
		return wrong(&found)
	})
	return &found
}

func there(*batchv1.CronJob) string { return "" }

func (c *cluster) noCronJob(sb *v1alpha1.StorageBackend) {
	c.t.Helper()
	eventually(c.t, func() string {
		var all batchv1.CronJobList
		if err := c.client.List(c.t.Context(), &all, client.InNamespace(c.namespace), client.MatchingLabels{"artifactstore.dev/backend": sb.Name}); err != nil {
			return err.Error()
		}
		if len(all.Items) > 0 {
			return "there is a CronJob " + all.Items[0].Name
		}
		return ""
	})
}

// probes waits until a backend was looked at so many times more.
func (c *cluster) probes(name string, times int) {
	c.t.Helper()
	last := time.Time{}
	for n := -1; n < times; n++ {
		eventually(c.t, func() string {
			if at := c.observer.Opened()[name].At; at.After(last) {
				last = at
				return ""
			}
			return "it was not looked at again"
		})
	}
}

func TestClusterKeepsTheCronJob(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, true)
	sb := c.verified("nightly", nil)
	is := c.until(sb, v1alpha1.ConditionVerificationScheduled, metav1.ConditionTrue, status.ReasonScheduled)
	made := c.cronJob(sb, there)
	if !metav1.IsControlledBy(made, sb) || *made.Spec.Suspend || made.Spec.ConcurrencyPolicy != batchv1.ForbidConcurrent || !strings.Contains(is.Message, made.Spec.Schedule) || strings.Contains(made.Spec.Schedule, "H") {
		t.Errorf("%+v; the condition says %q", made, is.Message)
	}
	if told := meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionReady); told.Status != metav1.ConditionTrue {
		t.Errorf("%+v", told)
	}

	// While nothing changes nothing is written, however often it is looked at.
	c.until(sb, v1alpha1.ConditionReady, metav1.ConditionTrue, status.ReasonReady)
	c.probes("nightly", 3)
	if err := c.client.Get(t.Context(), client.ObjectKeyFromObject(sb), sb); err != nil {
		t.Fatal(err)
	}
	version := sb.ResourceVersion
	c.probes("nightly", 3)
	if err := c.client.Get(t.Context(), client.ObjectKeyFromObject(sb), sb); err != nil {
		t.Fatal(err)
	}
	if again := c.cronJob(sb, there); again.ResourceVersion != made.ResourceVersion || sb.ResourceVersion != version {
		t.Errorf("the CronJob went from version %s to %s, the backend from %s to %s", made.ResourceVersion, again.ResourceVersion, version, sb.ResourceVersion)
	}

	// An edit is followed, also where a field goes.
	c.edit(sb, func() {
		sb.Spec.Verification.Schedule, sb.Spec.Verification.Mode = "30 2 * * *", v1alpha1.VerificationRolling
		sb.Spec.Verification.Bandwidth = new(resource.MustParse("10Mi"))
	})
	edited := c.cronJob(sb, func(now *batchv1.CronJob) string {
		if args := strings.Join(podOfJob(now).Containers[0].Args, " "); now.Spec.Schedule != "30 2 * * *" || !strings.Contains(args, "--bandwidth=10485760") || !strings.Contains(args, "--rolling-period=720h0m0s --rolling-interval=24h0m0s") {
			return now.Spec.Schedule + " " + args
		}
		return ""
	})
	if edited.UID != made.UID {
		t.Error("an edit made another CronJob")
	}
	c.edit(sb, func() { sb.Spec.Verification.Bandwidth = nil })
	c.cronJob(sb, func(now *batchv1.CronJob) string {
		if args := strings.Join(podOfJob(now).Containers[0].Args, " "); strings.Contains(args, "--bandwidth") {
			return args
		}
		return ""
	})

	// Suspended, by its own word and with the backend.
	c.edit(sb, func() { sb.Spec.Verification.Suspend = true })
	c.until(sb, v1alpha1.ConditionVerificationScheduled, metav1.ConditionFalse, status.ReasonVerificationSuspended)
	c.cronJob(sb, suspended(true))
	c.edit(sb, func() { sb.Spec.Verification.Suspend, sb.Spec.Probe.Suspend = false, true })
	is = c.until(sb, v1alpha1.ConditionVerificationScheduled, metav1.ConditionFalse, status.ReasonVerificationSuspended)
	if !strings.Contains(is.Message, "spec.probe.suspend") {
		t.Errorf("%q", is.Message)
	}
	c.cronJob(sb, suspended(true))
	c.edit(sb, func() { sb.Spec.Probe.Suspend = false })
	c.cronJob(sb, suspended(false))

	// What others change of ours is put right, what they add stays.
	c.edit(edited, func() {
		*edited.Spec.Suspend, edited.Labels["team"] = true, "ours"
		edited.Spec.JobTemplate.Spec.Template.Spec.Containers[0].SecurityContext = nil
	})
	c.cronJob(sb, func(now *batchv1.CronJob) string {
		if *now.Spec.Suspend || podOfJob(now).Containers[0].SecurityContext == nil || now.Labels["team"] != "ours" {
			return fmt.Sprintf("suspend %v, labels %v, %+v", *now.Spec.Suspend, now.Labels, podOfJob(now).Containers[0].SecurityContext)
		}
		return ""
	})
	if err := c.client.Delete(t.Context(), edited); err != nil {
		t.Fatal(err)
	}
	c.cronJob(sb, func(now *batchv1.CronJob) string {
		if now.UID == made.UID {
			return "the deleted one is still there"
		}
		return ""
	})

	// No longer declared.
	c.edit(sb, func() { sb.Spec.Verification = nil })
	c.noCronJob(sb)
	eventually(t, func() string {
		if err := c.client.Get(t.Context(), client.ObjectKeyFromObject(sb), sb); err != nil {
			return err.Error()
		}
		if is := meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionVerificationScheduled); is != nil {
			return fmt.Sprintf("the condition stays: %+v", is)
		}
		return ""
	})
}

func suspended(want bool) func(*batchv1.CronJob) string {
	return func(now *batchv1.CronJob) string {
		if *now.Spec.Suspend != want {
			return fmt.Sprintf("suspend is %v", *now.Spec.Suspend)
		}
		return ""
	}
}

// A manager that died between making the CronJob and writing the status finds it again.
func TestClusterAdoptsItsCronJob(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	sb := c.verified("crashed", nil)
	if got := (&cronjobs.Keeper{Client: c.client, Settings: c.settings(), Pods: c.pods()}).Ensure(t.Context(), sb); got == nil || got.Problem != nil || got.Stands {
		t.Fatalf("%+v", got)
	}
	made := c.cronJob(sb, there)
	c.start(nil, false)
	c.until(sb, v1alpha1.ConditionVerificationScheduled, metav1.ConditionTrue, status.ReasonScheduled)
	var all batchv1.CronJobList
	if err := c.client.List(t.Context(), &all, client.InNamespace(c.namespace)); err != nil || len(all.Items) != 1 || all.Items[0].UID != made.UID {
		t.Errorf("%d CronJobs, %v: want the one that was there", len(all.Items), err)
	}
}

func TestClusterLeavesForeignCronJobsAlone(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	foreign := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "taken-verify"}, Spec: batchv1.CronJobSpec{
		Schedule: "0 0 * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "a", Image: "a:1"}},
		}}}},
	}}
	c.create(foreign)
	sb := c.verified("taken", nil)
	is := c.until(sb, v1alpha1.ConditionVerificationScheduled, metav1.ConditionFalse, cronjobs.ReasonCronJobTaken)
	c.until(sb, v1alpha1.ConditionReady, metav1.ConditionTrue, status.ReasonReady)
	if !strings.Contains(is.Message, "taken-verify") {
		t.Errorf("%q", is.Message)
	}
	// Nor is it removed with the schedule.
	c.edit(sb, func() { sb.Spec.Verification = nil })
	c.probes("taken", 2)
	now := c.cronJob(sb, there)
	if now.UID != foreign.UID || now.Generation != 1 || len(now.OwnerReferences) > 0 {
		t.Errorf("it was touched: %+v", now.ObjectMeta)
	}
	c.edit(sb, func() { sb.Spec.Verification = &v1alpha1.VerificationSpec{Schedule: "H H * * *"} })
	c.until(sb, v1alpha1.ConditionVerificationScheduled, metav1.ConditionFalse, cronjobs.ReasonCronJobTaken)
	if err := c.client.Delete(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	c.until(sb, v1alpha1.ConditionVerificationScheduled, metav1.ConditionTrue, status.ReasonScheduled)
}

func TestClusterSaysWhyThereIsNoCronJob(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	never := c.verified("never", func(spec *v1alpha1.StorageBackendSpec) { spec.Verification.Schedule = "0 20-10 * * *" })
	c.until(never, v1alpha1.ConditionVerificationScheduled, metav1.ConditionFalse, declared.ReasonScheduleInvalid)
	c.until(never, v1alpha1.ConditionReady, metav1.ConditionTrue, status.ReasonReady)
	small := c.verified("small", func(spec *v1alpha1.StorageBackendSpec) {
		spec.Verification.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")}
	})
	is := c.until(small, v1alpha1.ConditionVerificationScheduled, metav1.ConditionFalse, cronjobs.ReasonCronJobRefused)
	if !strings.Contains(is.Message, "must be less than or equal to memory limit") {
		t.Errorf("%q", is.Message)
	}
	c.noCronJob(small)
	c.edit(small, func() {
		small.Spec.Verification.Resources.Requests = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("16Mi")}
	})
	c.until(small, v1alpha1.ConditionVerificationScheduled, metav1.ConditionTrue, status.ReasonScheduled)
}

// A CronJob that cannot be made anew, for its schedule was spoiled, is suspended with its backend.
func TestClusterSuspendsWhatItCannotMake(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	sb := c.verified("spoiled", nil)
	c.until(sb, v1alpha1.ConditionVerificationScheduled, metav1.ConditionTrue, status.ReasonScheduled)
	c.edit(sb, func() { sb.Spec.Verification.Schedule = "0 20-10 * * *" })
	c.until(sb, v1alpha1.ConditionVerificationScheduled, metav1.ConditionFalse, declared.ReasonScheduleInvalid)
	c.cronJob(sb, suspended(false))
	c.edit(sb, func() { sb.Spec.Probe.Suspend = true })
	c.cronJob(sb, suspended(true))
}

func TestClusterSuspendsVerificationOfWhatIsDeleted(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	sb := c.verified("leaving", nil)
	c.until(sb, v1alpha1.ConditionVerificationScheduled, metav1.ConditionTrue, status.ReasonScheduled)
	c.holds(sb, 1)
	c.remove(sb)
	c.until(sb, v1alpha1.ConditionReady, metav1.ConditionFalse, status.ReasonDeletionBlocked)
	c.cronJob(sb, suspended(true))
	is := c.until(sb, v1alpha1.ConditionVerificationScheduled, metav1.ConditionFalse, status.ReasonVerificationSuspended)
	if !strings.Contains(is.Message, "being deleted") {
		t.Errorf("%q", is.Message)
	}
}

// What verification found is in the status: the first failed locations, and an
// Event where Verified turns.
func TestClusterTellsOfFailedLocations(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	sb := c.verified("damaged", nil)
	c.until(sb, v1alpha1.ConditionReady, metav1.ConditionTrue, status.ReasonReady)
	damaged := digest.Of([]byte("damaged")).SHA256
	name := damaged.String()
	c.registrar.Find(sb.Status.ID, registrar.Findings{Live: 3, Failed: 1, Corrupt: 1, LastVerified: time.Now(), Failures: []verify.FailedLocation{{SHA256: damaged, Reason: "corrupt"}}})
	c.until(sb, v1alpha1.ConditionVerified, metav1.ConditionFalse, status.ReasonCorrupt)
	if len(sb.Status.FailedLocations) != 1 || sb.Status.FailedLocations[0].SHA256 != name || sb.Status.FailedLocations[0].Reason != "corrupt" {
		t.Errorf("%+v", sb.Status.FailedLocations)
	}
	// A schedule that was there long enough and was not kept.
	c.registrar.Find(sb.Status.ID, registrar.Findings{Live: 3, WaitingSince: time.Now().Add(-time.Hour)})
	c.until(sb, v1alpha1.ConditionVerified, metav1.ConditionUnknown, status.ReasonNeverVerified)
	if sb.Status.FailedLocations != nil {
		t.Errorf("%+v", sb.Status.FailedLocations)
	}
}

// The end of a run is acted on at once, however seldom the place is looked at.
func TestClusterLooksAfterARun(t *testing.T) {
	t.Parallel()
	c := startCluster(t, nil, false)
	sb := c.verified("seldom", func(spec *v1alpha1.StorageBackendSpec) {
		spec.Probe.Interval = &metav1.Duration{Duration: 24 * time.Hour}
	})
	c.until(sb, v1alpha1.ConditionReady, metav1.ConditionTrue, status.ReasonReady)
	cronJob := c.cronJob(sb, there)
	next := func(change func(*batchv1.CronJobStatus)) {
		t.Helper()
		eventually(t, func() string {
			if err := c.client.Get(t.Context(), client.ObjectKeyFromObject(cronJob), cronJob); err != nil {
				return err.Error()
			}
			change(&cronJob.Status)
			if err := c.client.Status().Update(t.Context(), cronJob); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	running := func(s *batchv1.CronJobStatus) {
		s.LastScheduleTime, s.Active = &metav1.Time{Time: time.Now()}, []corev1.ObjectReference{{Kind: "Job", Name: "a"}}
	}
	c.quiet("seldom")

	next(running)
	c.registrar.Find(sb.Status.ID, registrar.Findings{Live: 3, LastVerified: time.Now(), OldestVerified: time.Now()})
	next(func(s *batchv1.CronJobStatus) { s.Active, s.LastSuccessfulTime = nil, &metav1.Time{Time: time.Now()} })
	c.until(sb, v1alpha1.ConditionVerified, metav1.ConditionTrue, status.ReasonIntact)
	c.quiet("seldom")

	next(running)
	c.registrar.Find(sb.Status.ID, registrar.Findings{Live: 2, Failed: 1, Missing: 1, LastVerified: time.Now()})
	next(func(s *batchv1.CronJobStatus) { s.Active = nil })
	c.until(sb, v1alpha1.ConditionVerified, metav1.ConditionFalse, status.ReasonMissing)
}

// quiet waits until a backend was not looked at for a while, so that the next look has a reason.
func (c *cluster) quiet(name string) {
	c.t.Helper()
	const while = 2 * time.Second
	eventually(c.t, func() string {
		if at := c.observer.Opened()[name].At; time.Since(at) < while {
			return fmt.Sprintf("it was looked at %s ago", time.Since(at))
		}
		return ""
	})
}

func podOfJob(c *batchv1.CronJob) corev1.PodSpec { return c.Spec.JobTemplate.Spec.Template.Spec }
