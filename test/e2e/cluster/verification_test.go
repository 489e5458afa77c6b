//go:build e2e

package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

// verification: pods read a backend each minute, as its schedule has it, with
// its own keys and their own account. What they find is told everywhere.
func verification(t *testing.T, w *world) {
	const backend = "general"
	w.schedule(t, backend, `{"schedule": "* * * * *"}`)
	w.waitCondition(t, backend, v1alpha1.ConditionVerificationScheduled, metav1.ConditionTrue, "Scheduled")
	w.nextRun(t, backend, batchv1.JobComplete, 0, "verified")
	w.waitCondition(t, backend, v1alpha1.ConditionVerified, metav1.ConditionTrue, "Intact")
	if events := w.must(t, "admin", "events", "--all"); !strings.Contains(events, "v1.storage.location_verified") {
		t.Errorf("no event tells of it:\n%s", events)
	}

	// An object whose bytes are not what they were.
	bucket := w.places[backend].Client()
	key, content := w.anObject(t, bucket, w.places[backend].Bucket)
	put := func(content []byte) {
		t.Helper()
		if _, err := bucket.PutObject(background, &s3.PutObjectInput{Bucket: aws.String(w.places[backend].Bucket), Key: &key, Body: bytes.NewReader(content)}); err != nil {
			t.Fatal(err)
		}
	}
	damaged := bytes.Clone(content)
	damaged[len(damaged)/2] ^= 1
	put(damaged)
	name := "sha256:" + path.Base(key)
	w.nextRun(t, backend, batchv1.JobFailed, 3, name)
	w.waitCondition(t, backend, v1alpha1.ConditionVerified, metav1.ConditionFalse, "CorruptLocations")
	var sb v1alpha1.StorageBackend
	if err := w.client.Get(background, client.ObjectKey{Namespace: system, Name: backend}, &sb); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(sb.Status.FailedLocations, []v1alpha1.FailedLocation{{SHA256: name, Reason: "corrupt"}}) {
		t.Errorf("%+v", sb.Status.FailedLocations)
	}
	if events := w.must(t, "admin", "events", "-o", "json"); !strings.Contains(events, "v1.storage.location_failed") || !strings.Contains(events, name) {
		t.Errorf("no event tells of %s:\n%s", name, tail(events))
	}
	if done := w.cli(t, "admin", "health"); done.code == 0 || !strings.Contains(done.output, "degraded") {
		t.Errorf("exit %d: %s", done.code, done.output)
	}

	// Restored, the next run finds it right.
	put(content)
	w.nextRun(t, backend, batchv1.JobComplete, 0, "verified")
	w.waitCondition(t, backend, v1alpha1.ConditionVerified, metav1.ConditionTrue, "Intact")
	w.must(t, "admin", "health")

	// No longer declared: what the runs left goes with the CronJob.
	w.schedule(t, backend, "null")
	eventually(t, func() error {
		var cronJobs batchv1.CronJobList
		var jobs batchv1.JobList
		var pods corev1.PodList
		ours := []client.ListOption{client.InNamespace(system), client.MatchingLabels{"artifactstore.dev/backend": backend}}
		if err := errors.Join(w.client.List(background, &cronJobs, ours...), w.client.List(background, &jobs, ours...), w.client.List(background, &pods, ours...)); err != nil {
			return err
		}
		if left := len(cronJobs.Items) + len(jobs.Items) + len(pods.Items); left > 0 {
			return fmt.Errorf("%d CronJobs, Jobs and pods are left", left)
		}
		return nil
	})
}

// schedule sets spec.verification.
func (w *world) schedule(t *testing.T, backend, verification string) {
	t.Helper()
	sb := &v1alpha1.StorageBackend{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: backend}}
	patch := fmt.Appendf(nil, `{"spec":{"verification":%s}}`, verification)
	if err := w.client.Patch(background, sb, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
}

// nextRun waits for a Job that the CronJob makes from now on, and for its end:
// its condition, its only pod's exit code, and what that says.
func (w *world) nextRun(t *testing.T, backend string, kind batchv1.JobConditionType, code int32, says string) {
	t.Helper()
	ours := []client.ListOption{client.InNamespace(system), client.MatchingLabels{"artifactstore.dev/backend": backend}}
	var before, jobs batchv1.JobList
	if err := w.client.List(background, &before, ours...); err != nil {
		t.Fatal(err)
	}
	known := func(job batchv1.Job) bool {
		return slices.ContainsFunc(before.Items, func(old batchv1.Job) bool { return old.UID == job.UID })
	}
	var run *batchv1.Job
	eventually(t, func() error {
		if err := w.client.List(background, &jobs, ours...); err != nil {
			return err
		}
		at := slices.IndexFunc(jobs.Items, func(job batchv1.Job) bool { return !known(job) })
		if at < 0 {
			return errors.New("no Job is made")
		}
		run = &jobs.Items[at]
		for _, condition := range run.Status.Conditions {
			if condition.Status != corev1.ConditionTrue {
				continue
			}
			switch condition.Type {
			case kind:
				return nil
			case batchv1.JobComplete, batchv1.JobFailed:
				t.Fatalf("the Job %s is %s: %s: %s", run.Name, condition.Type, condition.Reason, condition.Message)
			}
		}
		return fmt.Errorf("the Job %s goes on: %+v", run.Name, run.Status)
	})
	if !strings.HasPrefix(run.Name, backend+"-verify-") {
		t.Errorf("the Job %s is not of the CronJob", run.Name)
	}
	var pods corev1.PodList
	if err := w.client.List(background, &pods, client.InNamespace(system), client.MatchingLabels{batchv1.JobNameLabel: run.Name}); err != nil || len(pods.Items) != 1 {
		t.Fatalf("%d pods of %s, %v", len(pods.Items), run.Name, err)
	}
	ended := pods.Items[0].Status.ContainerStatuses[0].State.Terminated
	if said := w.logs(t, &pods.Items[0], nil); ended == nil || ended.ExitCode != code || !strings.Contains(said, says) {
		t.Errorf("the pod ended with %+v, want code %d, and %q in what it says:\n%s", ended, code, says, said)
	}
}

// anObject is the largest blob of a bucket: its key and bytes.
func (w *world) anObject(t *testing.T, bucket *s3.Client, name string) (key string, content []byte) {
	t.Helper()
	listed, err := bucket.ListObjectsV2(background, &s3.ListObjectsV2Input{Bucket: &name, Prefix: aws.String("sha256/")})
	if err != nil || len(listed.Contents) == 0 {
		t.Fatalf("%d objects, %v", len(listed.Contents), err)
	}
	largest := listed.Contents[0]
	for _, object := range listed.Contents {
		if *object.Size > *largest.Size {
			largest = object
		}
	}
	answer, err := bucket.GetObject(background, &s3.GetObjectInput{Bucket: &name, Key: largest.Key})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if content, err = io.ReadAll(answer.Body); err != nil {
		t.Fatal(err)
	}
	return *largest.Key, content
}
