package controllers

import (
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/coulomb/artifact-store/api/v1alpha1"
)

func clientKey(o client.Object) client.ObjectKey { return client.ObjectKeyFromObject(o) }

// holdsNoSecret scans whatever the controllers have written for anyone to read:
// statuses, Events and the log.
func (c *cluster) holdsNoSecret(secrets ...string) {
	c.t.Helper()
	written := map[string]string{"the log": c.logs.String()}
	for kind, list := range map[string]client.ObjectList{
		"statuses of backends": &v1alpha1.StorageBackendList{}, "statuses of policies": &v1alpha1.RoutingPolicyList{},
		"Events": &eventsv1.EventList{}, "core Events": &corev1.EventList{},
	} {
		if err := c.client.List(c.t.Context(), list, client.InNamespace(c.namespace)); err != nil {
			c.t.Fatal(err)
		}
		text, err := json.Marshal(list)
		if err != nil {
			c.t.Fatal(err)
		}
		written[kind] = string(text)
	}
	if len(written["Events"]) < 200 {
		c.t.Errorf("no Events to look at: %s", written["Events"])
	}
	for where, text := range written {
		for _, secret := range append(secrets, "X-Amz-Signature", "X-Amz-Credential", "AWS4-HMAC-SHA256") {
			if secret != "" && strings.Contains(text, secret) {
				c.t.Errorf("%q is in %s", secret, where)
			}
		}
	}
}
