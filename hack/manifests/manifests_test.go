// Package manifests holds the kustomizations of config/, as kubectl renders
// them, to what the documents say of them.
package manifests

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/hack/doctest"
	"github.com/coulomb/artifact-store/test/programs"
	"github.com/coulomb/artifact-store/test/servers"
)

func root(t *testing.T) string {
	t.Helper()
	folder, err := servers.Root()
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// rendered are the objects of a kustomization.
type rendered []*unstructured.Unstructured

// render runs kubectl kustomize on a folder.
func render(t *testing.T, folder string) rendered {
	t.Helper()
	output, err := exec.Command(servers.Kubectl(t), "kustomize", folder).Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", folder, err, stderr(err))
	}
	var all rendered
	for document := range strings.SplitSeq(string(output), "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
			t.Fatalf("%s: %v", folder, err)
		}
		all = append(all, o)
	}
	return all
}

func stderr(err error) string {
	if exit, ok := err.(*exec.ExitError); ok {
		return string(exit.Stderr)
	}
	return ""
}

// overlay renders a kustomization of its own, one folder below config/, as a user would write it.
func overlay(t *testing.T, kustomization string) rendered {
	t.Helper()
	folder := t.TempDir()
	if err := os.CopyFS(filepath.Join(folder, "config"), os.DirFS(filepath.Join(root(t), "config"))); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(folder, "mine")
	if err := os.Mkdir(mine, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mine, "kustomization.yaml"), []byte(kustomization), 0o600); err != nil {
		t.Fatal(err)
	}
	return render(t, mine)
}

func (r rendered) find(kind, name string) *unstructured.Unstructured {
	for _, o := range r {
		if o.GetKind() == kind && o.GetName() == name {
			return o
		}
	}
	return nil
}

func decode[T any](t *testing.T, r rendered, kind, name string) T {
	t.Helper()
	var into T
	o := r.find(kind, name)
	if o == nil {
		t.Fatalf("no %s %s is rendered", kind, name)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &into); err != nil {
		t.Fatal(err)
	}
	return into
}

// manager is the Deployment and its container.
func manager(t *testing.T, r rendered) (appsv1.Deployment, corev1.Container) {
	t.Helper()
	deployment := decode[appsv1.Deployment](t, r, "Deployment", "artifact-store")
	if len(deployment.Spec.Template.Spec.Containers) != 1 {
		t.Fatal("the Deployment has not one container")
	}
	return deployment, deployment.Spec.Template.Spec.Containers[0]
}

// flag is the last value of a flag among the arguments.
func flag(container corev1.Container, name string) (value string, found bool) {
	for _, argument := range container.Args {
		if flag, given, _ := strings.Cut(argument, "="); flag == "--"+name {
			value, found = given, true
		}
	}
	return value, found
}

func environment(container corev1.Container, name string) corev1.EnvVar {
	for _, variable := range container.Env {
		if variable.Name == name {
			return variable
		}
	}
	return corev1.EnvVar{}
}

func TestDefault(t *testing.T) {
	t.Parallel()
	r := render(t, filepath.Join(root(t), "config", "default"))
	deployment, container := manager(t, r)
	if *deployment.Spec.Replicas != 2 || deployment.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
		t.Errorf("%d replicas, strategy %+v", *deployment.Spec.Replicas, deployment.Spec.Strategy)
	}
	if image := environment(container, "ARTIFACTSTORE_IMAGE").Value; image != container.Image {
		t.Errorf("verification pods run %q, the manager %q", image, container.Image)
	}
	ref := environment(container, "ARTIFACTSTORE_DATABASE").ValueFrom.SecretKeyRef
	if ref.Name != "artifact-store-database" || ref.Optional != nil {
		t.Errorf("the database is of %+v: without the Secret it must not start", ref)
	}
	checkFlags(t, container)
	checkPorts(t, r)
	if _, found := flag(container, "allow-anonymous"); found {
		t.Error("nobody is asked who he is")
	}

	// Kubernetes kills what has not ended by then.
	grace := time.Duration(*deployment.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second
	var needed time.Duration
	for _, name := range []string{"shutdown-delay", "drain-timeout"} {
		value, _ := flag(container, name)
		took, err := time.ParseDuration(value)
		if err != nil || took == 0 {
			t.Errorf("--%s: %v", name, err)
		}
		needed += took
	}
	if grace < needed+time.Second {
		t.Errorf("ending may take %s, and Kubernetes gives it %s", needed, grace)
	}

	// What is removed with it must hold nothing.
	for _, o := range r {
		switch o.GetKind() {
		case "CustomResourceDefinition", "Namespace", "PersistentVolumeClaim", "Secret":
			t.Errorf("%s %s goes when config/default is deleted", o.GetKind(), o.GetName())
		}
	}
}

// checkFlags: the manager has every flag that it is given.
func checkFlags(t *testing.T, container corev1.Container) {
	t.Helper()
	help, err := exec.Command(programs.Path(t, "manager"), "--help").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	for _, argument := range container.Args {
		name, _, _ := strings.Cut(argument, "=")
		if !regexp.MustCompile(`(?m)^\s+-` + strings.TrimPrefix(name, "--") + `\b`).Match(help) {
			t.Errorf("the manager has no flag %s", name)
		}
	}
}

// checkPorts: each port that a Service, a probe or the NetworkPolicy names is one of the container, and the manager listens there.
func checkPorts(t *testing.T, r rendered) {
	t.Helper()
	deployment, container := manager(t, r)
	ports := map[string]int32{}
	for _, port := range container.Ports {
		ports[port.Name] = port.ContainerPort
	}
	for name, listens := range map[string]string{"registry": "listen", "metrics": "metrics-listen"} {
		address, _ := flag(container, listens)
		if _, port, _ := strings.Cut(address, ":"); ports[name] == 0 || port != strconv.Itoa(int(ports[name])) {
			t.Errorf("the port %s is %d, --%s is %s", name, ports[name], listens, address)
		}
	}
	for path, probe := range map[string]*corev1.Probe{"/livez": container.LivenessProbe, "/readyz": container.ReadinessProbe} {
		if probe.HTTPGet.Path != path || probe.HTTPGet.Port.String() != "metrics" || probe.HTTPGet.Scheme != "" {
			t.Errorf("the probe of %s asks %+v", path, probe.HTTPGet)
		}
	}
	for _, name := range []string{"artifact-store", "artifact-store-metrics"} {
		service := decode[corev1.Service](t, r, "Service", name)
		for label, value := range service.Spec.Selector {
			if deployment.Spec.Template.Labels[label] != value {
				t.Errorf("the Service %s wants the label %s=%s", name, label, value)
			}
		}
		if service.Spec.Selector["app.kubernetes.io/component"] == "" {
			t.Errorf("the Service %s takes pods that are no managers", name)
		}
		for _, port := range service.Spec.Ports {
			if ports[port.TargetPort.String()] == 0 {
				t.Errorf("the Service %s leads to the port %s, which is none", name, port.TargetPort.String())
			}
		}
	}
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	deployment, container := manager(t, render(t, filepath.Join(root(t), "config", "sqlite")))
	if *deployment.Spec.Replicas != 1 || deployment.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType || deployment.Spec.Strategy.RollingUpdate != nil {
		t.Errorf("%d replicas, strategy %+v: SQLite serves one process at a time", *deployment.Spec.Replicas, deployment.Spec.Strategy)
	}
	database, dataDir := environment(container, "ARTIFACTSTORE_DATABASE"), ""
	if dataDir, _ = flag(container, "data-dir"); database.ValueFrom != nil || database.Value != "sqlite://"+dataDir+"/registry.db" {
		t.Errorf("the database is %+v, the data folder %s", database, dataDir)
	}
	if elect, _ := flag(container, "leader-elect"); elect != "false" {
		t.Error("with SQLite the manager refuses --leader-elect")
	}
	claim := ""
	for _, volume := range deployment.Spec.Template.Spec.Volumes {
		if volume.Name == "data" && volume.PersistentVolumeClaim != nil && volume.EmptyDir == nil {
			claim = volume.PersistentVolumeClaim.ClaimName
		}
	}
	if render(t, filepath.Join(root(t), "config", "sqlite", "install")).find("PersistentVolumeClaim", claim) == nil {
		t.Errorf("the volume %q is none that stays", claim)
	}
	checkFlags(t, container)
}

func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	r := overlay(t, "resources: [../config/default]\ncomponents: [../config/components/plain-http]\n")
	deployment, container := manager(t, r)
	for _, name := range []string{"tls-cert-file", "tls-key-file"} {
		if value, found := flag(container, name); value != "" || !found {
			t.Errorf("--%s=%s", name, value)
		}
	}
	for _, volume := range deployment.Spec.Template.Spec.Volumes {
		if volume.Name == "tls" {
			t.Error("the Secret of the certificate is mounted all the same")
		}
	}
	checkPorts(t, r)
	if port := decode[corev1.Service](t, r, "Service", "artifact-store").Spec.Ports[0]; port.Port != 80 || *port.AppProtocol != "http" {
		t.Errorf("the Service has the port %+v", port)
	}
	if port := decode[corev1.Service](t, r, "Service", "artifact-store-metrics").Spec.Ports[0]; port.Port != 8081 {
		t.Errorf("the Service of metrics has the port %+v", port)
	}
}

// TestVolume: the component mounts the claim of the sample where its backend is.
func TestVolume(t *testing.T) {
	t.Parallel()
	deployment, container := manager(t, overlay(t, "resources: [../config/default]\ncomponents: [../config/components/volume]\n"))
	sample := render(t, filepath.Join(root(t), "config", "samples", "local"))
	backend := decode[v1alpha1.StorageBackend](t, sample, "StorageBackend", "volume")
	mounted := ""
	for _, mount := range container.VolumeMounts {
		if mount.MountPath == backend.Spec.Local.Path {
			mounted = mount.Name
		}
	}
	claim := ""
	for _, volume := range deployment.Spec.Template.Spec.Volumes {
		if volume.Name == mounted && volume.PersistentVolumeClaim != nil {
			claim = volume.PersistentVolumeClaim.ClaimName
		}
	}
	if sample.find("PersistentVolumeClaim", claim) == nil {
		t.Errorf("%s is no mount of a claim that the sample makes: %q, %q", backend.Spec.Local.Path, mounted, claim)
	}
	if root, _ := flag(container, "local-root"); !strings.HasPrefix(backend.Spec.Local.Path, root+"/") {
		t.Errorf("%s is not below --local-root=%s", backend.Spec.Local.Path, root)
	}
}

// TestKustomizationOfYours renders the example of docs/INSTALL.md.
func TestKustomizationOfYours(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root(t), "docs", "INSTALL.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "### A kustomization of yours")
	blocks, err := doctest.Blocks(section)
	if err != nil || len(blocks) == 0 {
		t.Fatalf("the example is not there: %v", err)
	}
	example := strings.Replace(blocks[0].Text, "namespace: artifact-store ", "namespace: elsewhere ", 1)
	r := overlay(t, example)
	deployment, container := manager(t, r)
	if *deployment.Spec.Replicas != 3 || container.Image != "registry.example.com/artifact-store:v1" || environment(container, "ARTIFACTSTORE_IMAGE").Value != container.Image {
		t.Errorf("%d replicas of %s, verification by %s", *deployment.Spec.Replicas, container.Image, environment(container, "ARTIFACTSTORE_IMAGE").Value)
	}
	if drain, _ := flag(container, "drain-timeout"); drain != "10m" {
		t.Errorf("--drain-timeout=%s", drain)
	}
	for _, o := range r {
		if o.GetNamespace() != "elsewhere" && !strings.HasPrefix(o.GetKind(), "Cluster") {
			t.Errorf("%s %s is in the namespace %q", o.GetKind(), o.GetName(), o.GetNamespace())
		}
	}
	// What it may ask of the API server, it may there.
	if subjects := decode[rbacv1.ClusterRoleBinding](t, r, "ClusterRoleBinding", "artifact-store-manager").Subjects; len(subjects) != 1 || subjects[0].Namespace != "elsewhere" {
		t.Errorf("the ClusterRoleBinding is of %+v", subjects)
	}
}
