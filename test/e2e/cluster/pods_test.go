//go:build e2e

package cluster

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// pod is one of a user: its own account's token for us, and whom to trust, are mounted.
func (w *world) pod(account, image string, command ...string) *corev1.Pod {
	yes, no, user := true, false, int64(65532)
	expiry := int64(600) // the least that Kubernetes gives
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: users, Name: account + "-" + rand.String(6), Labels: map[string]string{"artifact-store-e2e": "user"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: account, AutomountServiceAccountToken: &no, RestartPolicy: corev1.RestartPolicyNever,
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user, FSGroup: &user, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{
				Name: "user", Image: image, Command: command,
				Env: []corev1.EnvVar{
					{Name: "ARTIFACTSTORE_SERVER", Value: server}, {Name: "ARTIFACTSTORE_CA_FILE", Value: "/trust/ca.crt"}, {Name: "ARTIFACTSTORE_TOKEN_FILE", Value: "/token/token"},
				},
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
				VolumeMounts:    []corev1.VolumeMount{{Name: "trust", MountPath: "/trust"}, {Name: "token", MountPath: "/token"}, {Name: "scratch", MountPath: "/tmp"}},
			}},
			Volumes: []corev1.Volume{
				{Name: "trust", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "artifact-store-ca"}}}},
				{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: "artifact-store", Path: "token", ExpirationSeconds: &expiry}},
				}}}},
				{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
		},
	}
}

// result is what a pod left.
type result struct {
	code   int32
	output string
}

// cli runs artifactstore in a pod of the account, to its end.
func (w *world) cli(t *testing.T, account string, args ...string) result {
	t.Helper()
	return w.finish(t, w.pod(account, w.image, append([]string{"/usr/local/bin/artifactstore"}, args...)...))
}

// must wants the exit code 0 of cli.
func (w *world) must(t *testing.T, account string, args ...string) string {
	t.Helper()
	done := w.cli(t, account, args...)
	if done.code != 0 {
		t.Fatalf("artifactstore %s as %s: exit %d\n%s", strings.Join(args, " "), account, done.code, done.output)
	}
	return done.output
}

// finish runs a pod to its end and removes it.
func (w *world) finish(t *testing.T, pod *corev1.Pod) result {
	t.Helper()
	if err := w.client.Create(background, pod); err != nil {
		t.Fatal(err)
	}
	defer w.remove(t, pod)
	var ended *corev1.ContainerStateTerminated
	eventually(t, func() error {
		if err := w.client.Get(background, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		for _, status := range pod.Status.ContainerStatuses {
			if ended = status.State.Terminated; ended != nil {
				return nil
			}
		}
		return fmt.Errorf("the pod %s is %s: %+v", pod.Name, pod.Status.Phase, pod.Status.ContainerStatuses)
	})
	return result{ended.ExitCode, w.logs(t, pod, nil)}
}

func (w *world) logs(t *testing.T, pod *corev1.Pod, lines *int64) string {
	t.Helper()
	stream, err := w.pods.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{TailLines: lines}).Stream(background)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	text, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (w *world) remove(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if err := w.client.Delete(background, pod, client.GracePeriodSeconds(0)); err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

// counts are what the program load prints.
type counts struct{ Pushes, Pulls, Asks, Failures int64 }

// underLoad does something while pods push and pull without a pause, and
// returns what the load counted from its begin to after the end, and the
// failures in its words. goesOn waits until what was under way has most likely
// ended: each worker has pushed several times more. At the end the load goes on so, too.
func (w *world) underLoad(t *testing.T, do func(goesOn func())) (counts, []string) {
	t.Helper()
	pod := w.pod("load", w.load, "/usr/local/bin/load", "--server", server, "--ca-file", "/trust/ca.crt", "--token-file", "/token/token")
	if err := w.client.Create(background, pod); err != nil {
		t.Fatal(err)
	}
	defer w.remove(t, pod)
	beyond := func(pushes int64) {
		t.Helper()
		eventually(t, func() error {
			now, failures, err := w.counted(t, pod)
			if err == nil && now.Pushes <= pushes {
				err = fmt.Errorf("%d pushes, want more than %d; failures: %q", now.Pushes, pushes, failures)
			}
			return err
		})
	}
	goesOn := func() {
		t.Helper()
		now, _, err := w.counted(t, pod)
		if err != nil {
			t.Fatal(err)
		}
		beyond(now.Pushes + 50)
	}
	beyond(20)
	do(goesOn)
	goesOn()
	now, failures, err := w.counted(t, pod)
	if err != nil {
		t.Fatal(err)
	}
	return now, failures
}

func (w *world) counted(t *testing.T, pod *corev1.Pod) (last counts, failures []string, err error) {
	t.Helper()
	if err := w.client.Get(background, client.ObjectKeyFromObject(pod), pod); err != nil {
		return last, nil, err
	}
	if pod.Status.Phase != corev1.PodRunning {
		return last, nil, fmt.Errorf("the load is %s", pod.Status.Phase)
	}
	found := false
	for lines := bufio.NewScanner(strings.NewReader(w.logs(t, pod, nil))); lines.Scan(); {
		text := lines.Text()
		if !strings.HasPrefix(text, "{") {
			failures = append(failures, text)
			continue
		}
		if err := json.Unmarshal([]byte(text), &last); err != nil {
			return last, nil, err
		}
		found = true
	}
	if !found {
		err = errors.New("the load has counted nothing yet")
	}
	return last, failures, err
}
