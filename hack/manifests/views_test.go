package manifests

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/yaml"
)

// TestViewsJob: the sample runs as the manager does, with its image, its
// database and no rights, in the memory that the verb is promised to fit in.
func TestViewsJob(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(root(t), "config", "samples", "views", "rebuild.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var job batchv1.Job
	if err := yaml.UnmarshalStrict(data, &job); err != nil {
		t.Fatal(err)
	}
	deployment, manager := manager(t, render(t, filepath.Join(root(t), "config", "manager")))
	pod, like := job.Spec.Template.Spec, deployment.Spec.Template.Spec
	if job.Namespace != deployment.Namespace || !reflect.DeepEqual(pod.SecurityContext, like.SecurityContext) || pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Errorf("in namespace %s as %+v, with a token: %v", job.Namespace, pod.SecurityContext, pod.AutomountServiceAccountToken)
	}
	views := pod.Containers[0]
	if !reflect.DeepEqual(views.SecurityContext, manager.SecurityContext) || views.Image != manager.Image ||
		!reflect.DeepEqual(environment(views, "ARTIFACTSTORE_DATABASE"), environment(manager, "ARTIFACTSTORE_DATABASE")) {
		t.Errorf("the container differs from the manager's: %+v", views)
	}
	if limit := views.Resources.Limits.Memory().Value(); limit != 128<<20 {
		t.Errorf("the limit of memory is %d", limit)
	}
	if !reflect.DeepEqual(views.Args, []string{"views", "rebuild"}) || len(views.Command) > 0 {
		t.Errorf("it runs %q %q", views.Command, views.Args)
	}
}
