package controllers

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// rights is everything that the ServiceAccounts of config/default may do, by
// "account scope group/resource" the verbs. This list and the manifests change
// together: whoever gives an account more, says so here.
var rights = map[string]string{
	"artifact-store-manager namespace /secrets":                                 "get list watch",
	"artifact-store-manager namespace /events":                                  "create patch",
	"artifact-store-manager namespace events.k8s.io/events":                     "create patch",
	"artifact-store-manager namespace coordination.k8s.io/leases":               "create get list patch update watch",
	"artifact-store-manager namespace batch/cronjobs":                           "create delete get list update watch",
	"artifact-store-manager namespace artifactstore.dev/storagebackends":        "get list patch watch",
	"artifact-store-manager namespace artifactstore.dev/storagebackends/status": "get patch",
	"artifact-store-manager namespace artifactstore.dev/routingpolicies":        "get list watch",
	"artifact-store-manager namespace artifactstore.dev/routingpolicies/status": "get patch",
	"artifact-store-verifier namespace artifactstore.dev/verifications":         "create",
	"artifact-store-manager cluster authentication.k8s.io/tokenreviews":         "create",
	"artifact-store-manager cluster authorization.k8s.io/subjectaccessreviews":  "create",
}

// TestRights compares what every binding of config/default grants with the
// list above, both ways.
func TestRights(t *testing.T) {
	t.Parallel()
	rules := map[string][]rbacv1.PolicyRule{} // by kind and name of the role
	var bindings []*unstructured.Unstructured
	for _, file := range kustomized(t, filepath.Join("..", "config", "default")) {
		for _, o := range objects(t, file) {
			switch o.GetKind() {
			case "Role", "ClusterRole":
				var role rbacv1.ClusterRole // a Role has the same rules
				if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role); err != nil {
					t.Fatal(err)
				}
				if role.AggregationRule != nil {
					t.Errorf("%s: %s grants what others say", file, role.Name)
				}
				rules[o.GetKind()+"/"+role.Name] = role.Rules
			case "RoleBinding", "ClusterRoleBinding":
				bindings = append(bindings, o)
			}
		}
	}
	granted := map[string]map[string]bool{}
	for _, o := range bindings {
		var binding rbacv1.ClusterRoleBinding // a RoleBinding has the same fields
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &binding); err != nil {
			t.Fatal(err)
		}
		scope := "namespace"
		if o.GetKind() == "ClusterRoleBinding" {
			scope = "cluster"
		}
		role := binding.RoleRef.Kind + "/" + binding.RoleRef.Name
		if rules[role] == nil {
			t.Errorf("%s binds %s, whose rules do not stand in config/default", binding.Name, role)
		}
		for _, subject := range binding.Subjects {
			if subject.Kind != "ServiceAccount" || subject.Namespace != "artifact-store" {
				t.Errorf("%s grants rights to %+v", binding.Name, subject)
			}
			for _, right := range flat(rules[role]) {
				key := subject.Name + " " + scope + " " + right.what
				if granted[key] == nil {
					granted[key] = map[string]bool{}
				}
				granted[key][right.verb] = true
			}
		}
	}
	for what, verbs := range granted {
		if strings.Contains(what, "*") || verbs["*"] {
			t.Errorf("%s: nothing is granted by a star", what)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(verbs)), " "); got != rights[what] {
			t.Errorf("%s: %q is granted, the list says %q", what, got, rights[what])
		}
	}
	for what := range rights {
		if granted[what] == nil {
			t.Errorf("%s: is in the list and granted by nothing", what)
		}
	}
}

// right is one verb on one kind of resource, or on some of it.
type right struct{ what, verb string }

func flat(rules []rbacv1.PolicyRule) []right {
	var all []right
	for _, rule := range rules {
		for _, verb := range rule.Verbs {
			for _, url := range rule.NonResourceURLs {
				all = append(all, right{"url " + url, verb})
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					what := group + "/" + resource
					if len(rule.ResourceNames) > 0 {
						what += " " + strings.Join(rule.ResourceNames, ",")
					}
					all = append(all, right{what, verb})
				}
			}
		}
	}
	return all
}
