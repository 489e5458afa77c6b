package e2e

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/test/programs"
)

// noneBesideAnother waits until the CronJob controller has passed over a run, because one goes on.
func (n *namespace) noneBesideAnother(t *testing.T) {
	t.Helper()
	programs.EventuallyWithin(t, nextMinute, func() error {
		var events corev1.EventList
		n.list(t, &events)
		if !slices.ContainsFunc(events.Items, func(e corev1.Event) bool { return e.InvolvedObject.Kind == "CronJob" && e.Reason == "JobAlreadyActive" }) {
			return errors.New("no run was passed over")
		}
		return nil
	})
	var jobs batchv1.JobList
	if n.list(t, &jobs); len(jobs.Items) != 1 {
		t.Errorf("%d Jobs at once", len(jobs.Items))
	}
}

// restrict lets no pods into the namespace but restricted ones, as config/install does.
func (n *namespace) restrict(t *testing.T) {
	t.Helper()
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n.name}}
	patch := []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`)
	if err := n.admin.Patch(background, object, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
}

func (n *namespace) backend(t *testing.T, name string) *v1alpha1.StorageBackend {
	t.Helper()
	var sb v1alpha1.StorageBackend
	if err := n.admin.Get(background, client.ObjectKey{Namespace: n.name, Name: name}, &sb); err != nil {
		t.Fatal(err)
	}
	return &sb
}

func (n *namespace) list(t *testing.T, all client.ObjectList, options ...client.ListOption) {
	t.Helper()
	if err := n.admin.List(background, all, append(options, client.InNamespace(n.name))...); err != nil {
		t.Fatal(err)
	}
}

func (n *namespace) cronJobs(t *testing.T) []batchv1.CronJob {
	t.Helper()
	var all batchv1.CronJobList
	n.list(t, &all)
	return all.Items
}

// left names what a garbage collector should have collected.
func (n *namespace) left(t *testing.T) string {
	t.Helper()
	var left []string
	for _, cronJob := range n.cronJobs(t) {
		left = append(left, "CronJob "+cronJob.Name)
	}
	var jobs batchv1.JobList
	n.list(t, &jobs)
	for _, job := range jobs.Items {
		left = append(left, "Job "+job.Name)
	}
	var pods corev1.PodList
	n.list(t, &pods)
	for _, pod := range pods.Items {
		left = append(left, "Pod "+pod.Name)
	}
	return strings.Join(left, ", ")
}

// scheduledJob waits for the first that the CronJob controller makes.
func (n *namespace) scheduledJob(t *testing.T) *batchv1.Job {
	t.Helper()
	var jobs batchv1.JobList
	programs.EventuallyWithin(t, nextMinute, func() error {
		if n.list(t, &jobs); len(jobs.Items) == 0 {
			return errors.New("no Job is made")
		}
		return nil
	})
	return &jobs.Items[0]
}

// jobByHand begins a run as `kubectl create job --from` does.
func (n *namespace) jobByHand(t *testing.T) *batchv1.Job {
	t.Helper()
	cronJob := &n.cronJobs(t)[0]
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.name, Name: "by-hand", Labels: cronJob.Spec.JobTemplate.Labels,
			Annotations:     map[string]string{"cronjob.kubernetes.io/instantiate": "manual"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "CronJob", Name: cronJob.Name, UID: cronJob.UID, Controller: new(true)}},
		},
		Spec: cronJob.Spec.JobTemplate.Spec,
	}
	if err := n.admin.Create(background, job); err != nil {
		t.Fatal(err)
	}
	return job
}

func (n *namespace) podsOf(t *testing.T, job *batchv1.Job) []corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	n.list(t, &pods, client.MatchingLabels{batchv1.JobNameLabel: job.Name})
	return pods.Items
}

// podOf waits for a pod of a Job, other than those that are known.
func (n *namespace) podOf(t *testing.T, job *batchv1.Job, known ...types.UID) *corev1.Pod {
	t.Helper()
	var found corev1.Pod
	programs.Eventually(t, func() error {
		for _, pod := range n.podsOf(t, job) {
			if !slices.Contains(known, pod.UID) {
				found = pod
				return nil
			}
		}
		return fmt.Errorf("the Job %s has no pod but %v", job.Name, known)
	})
	return &found
}

func (n *namespace) jobIs(t *testing.T, job *batchv1.Job, kind batchv1.JobConditionType, reason string) {
	t.Helper()
	programs.Eventually(t, func() error {
		if err := n.admin.Get(background, client.ObjectKeyFromObject(job), job); err != nil {
			return err
		}
		for _, is := range job.Status.Conditions {
			if is.Type == kind && is.Status == corev1.ConditionTrue && (reason == "" || is.Reason == reason) {
				return nil
			}
		}
		return fmt.Errorf("the Job %s is not %s %s: %+v", job.Name, kind, reason, job.Status)
	})
}

// onlyItsOwn: the pod is given its account's token for the registry, whom to
// trust, and its backend's keys; nothing of the manager's, and no way to the database.
func (n *namespace) onlyItsOwn(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	spec := n.backend(t, pod.Labels["artifactstore.dev/backend"]).Spec.S3
	own := []string{spec.AccessKeyRef.Name, spec.SecretKeyRef.Name, spec.CABundleRef.Name}
	if pod.Spec.ServiceAccountName != "artifact-store-verifier" || *pod.Spec.AutomountServiceAccountToken {
		t.Errorf("it has the account %s, and its token is mounted", pod.Spec.ServiceAccountName)
	}
	for _, variable := range pod.Spec.Containers[0].Env {
		if variable.ValueFrom != nil || strings.Contains(variable.Name, "DATABASE") {
			t.Errorf("the variable %s: %+v", variable.Name, variable)
		}
	}
	if len(pod.Spec.Containers[0].EnvFrom) > 0 {
		t.Errorf("%+v", pod.Spec.Containers[0].EnvFrom)
	}
	for _, volume := range pod.Spec.Volumes {
		if volume.Projected == nil {
			t.Errorf("the volume %+v", volume)
			continue
		}
		for _, source := range volume.Projected.Sources {
			switch {
			case source.Secret != nil && slices.Contains(own, source.Secret.Name):
			case source.ServiceAccountToken != nil && source.ServiceAccountToken.Audience == "artifact-store":
			default:
				t.Errorf("the volume %s has %+v", volume.Name, source)
			}
		}
	}
}

// kubelet runs a pod as one does: its program with its arguments and
// environment, the volumes in folders of their own, the Service's name being
// the manager's address; and tells the API server how it ended.
func (n *namespace) kubelet(t *testing.T, manager *programs.Manager, pod *corev1.Pod) programs.Result {
	t.Helper()
	container := pod.Spec.Containers[0]
	paths := []string{"http://artifact-store." + n.name + ".svc", manager.URL}
	for _, mount := range container.VolumeMounts {
		at := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
		paths = append(paths, mount.MountPath, n.volume(t, pod, pod.Spec.Volumes[at].Projected))
	}
	here := strings.NewReplacer(paths...)
	var args, env []string
	for _, arg := range container.Args {
		args = append(args, here.Replace(arg))
	}
	for _, variable := range container.Env {
		env = append(env, variable.Name+"="+here.Replace(variable.Value))
	}
	if len(container.Command) != 1 || filepath.Base(container.Command[0]) != "artifactstore" {
		t.Fatalf("the pod runs %q", container.Command)
	}
	done := programs.Execute(background, t, env, args...)
	n.ended(t, pod, done.Code)
	return done
}

// ended tells the API server how a pod ended.
func (n *namespace) ended(t *testing.T, pod *corev1.Pod, code int) {
	t.Helper()
	container := pod.Spec.Containers[0]
	pod.Status.Phase = corev1.PodSucceeded
	if code != 0 {
		pod.Status.Phase = corev1.PodFailed
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: container.Name, Image: container.Image, State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: int32(code), FinishedAt: metav1.Now()}, //nolint:gosec // an exit code
	}}}
	if err := n.admin.Status().Update(background, pod); err != nil {
		t.Fatal(err)
	}
}

// volume writes what is projected into a folder.
func (n *namespace) volume(t *testing.T, pod *corev1.Pod, from *corev1.ProjectedVolumeSource) string {
	t.Helper()
	folder := t.TempDir()
	write := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, source := range from.Sources {
		switch {
		case source.ServiceAccountToken != nil:
			write(source.ServiceAccountToken.Path, n.podToken(t, pod, source.ServiceAccountToken))
		case source.Secret != nil:
			var secret corev1.Secret
			if err := n.admin.Get(background, client.ObjectKey{Namespace: n.name, Name: source.Secret.Name}, &secret); err != nil {
				t.Fatal(err)
			}
			for _, item := range source.Secret.Items {
				content, there := secret.Data[item.Key]
				if !there {
					t.Fatalf("the Secret %s has no key %s", secret.Name, item.Key)
				}
				write(item.Path, content)
			}
		default:
			t.Fatalf("no kubelet projects %+v here", source)
		}
	}
	return folder
}

// podToken is what a kubelet asks for.
func (n *namespace) podToken(t *testing.T, pod *corev1.Pod, from *corev1.ServiceAccountTokenProjection) []byte {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{from.Audience}, ExpirationSeconds: from.ExpirationSeconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: n.name, Name: pod.Spec.ServiceAccountName}}
	if err := n.admin.SubResource("token").Create(background, account, request); err != nil {
		t.Fatal(err)
	}
	return []byte(request.Status.Token)
}

// withholding is the namespace by way of a proxy that keeps the answer to the
// first CronJob that is made from whoever makes it, and says that it was taken.
func (n *namespace) withholding(t *testing.T) (through *namespace, taken <-chan struct{}) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", n.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	made, ended := make(chan struct{}), make(chan struct{})
	var once sync.Once
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(server) },
		Transport:     transport,
		FlushInterval: -1, // watches
		ErrorLog:      log.New(io.Discard, "", 0),
		ModifyResponse: func(answer *http.Response) error {
			if answer.Request.Method == http.MethodPost && strings.HasSuffix(answer.Request.URL.Path, "/cronjobs") && answer.StatusCode == http.StatusCreated {
				once.Do(func() { close(made) })
				select {
				case <-answer.Request.Context().Done(): // who asked is gone
				case <-ended:
				}
			}
			return nil
		},
	})
	t.Cleanup(func() { close(ended); proxy.CloseClientConnections(); proxy.Close() })
	text, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: proxy.URL}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	})
	if err != nil {
		t.Fatal(err)
	}
	copied := *n
	copied.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(copied.kubeconfig, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return &copied, made
}
