// An informer as client-go has it, that says on stdout what it does: a line of JSON for each request it sends, each call
// of its event handlers and the end of its first sync. Nothing is set on it that an ordinary program would not set.
//
//	informer --kubeconfig FILE [--resource configmaps] [--client typed|dynamic|metadata]
//	informer --kubeconfig FILE [--resource configmaps] --page-size 2     only lists, with the pager of client-go
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/pager"
)

type object struct {
	Namespace       string            `json:"namespace"`
	Name            string            `json:"name"`
	ResourceVersion string            `json:"resourceVersion"`
	Labels          map[string]string `json:"labels"`
	Value           string            `json:"value"`
}

type line struct {
	Said   string   `json:"said"`
	Type   string   `json:"type,omitempty"`
	Object *object  `json:"object,omitempty"`
	Items  []object `json:"items,omitempty"`
	URL    string   `json:"url,omitempty"`
}

var printing sync.Mutex

func say(said line) {
	printing.Lock()
	defer printing.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// told shows the requests the client sends; it changes nothing of them.
type told struct{ next http.RoundTripper }

func (t told) RoundTrip(request *http.Request) (*http.Response, error) {
	say(line{Said: "request", URL: request.URL.RequestURI()})
	return t.next.RoundTrip(request)
}

func describe(of interface{}) object {
	accessor, err := meta.Accessor(of)
	if err != nil {
		fail(err)
	}
	value, labels := "", accessor.GetLabels()
	switch typed := of.(type) {
	case *corev1.ConfigMap:
		value = typed.Data["value"]
	case *corev1.Pod:
		value = typed.Spec.NodeName
	case *unstructured.Unstructured:
		value, _, _ = unstructured.NestedString(typed.Object, "data", "value")
	}
	if labels == nil {
		labels = map[string]string{}
	}
	return object{
		Namespace:       accessor.GetNamespace(),
		Name:            accessor.GetName(),
		ResourceVersion: accessor.GetResourceVersion(),
		Labels:          labels,
		Value:           value,
	}
}

func informerFor(config *rest.Config, client string, resource schema.GroupVersionResource) (cache.SharedIndexInformer, error) {
	switch client {
	case "typed":
		clientset, err := kubernetes.NewForConfig(config)
		if err != nil {
			return nil, err
		}
		generic, err := informers.NewSharedInformerFactory(clientset, 0).ForResource(resource)
		if err != nil {
			return nil, err
		}
		return generic.Informer(), nil
	case "dynamic":
		dynamicClient, err := dynamic.NewForConfig(config)
		if err != nil {
			return nil, err
		}
		return dynamicinformer.NewDynamicSharedInformerFactory(dynamicClient, 0).ForResource(resource).Informer(), nil
	case "metadata":
		metadataClient, err := metadata.NewForConfig(config)
		if err != nil {
			return nil, err
		}
		return metadatainformer.NewSharedInformerFactory(metadataClient, 0).ForResource(resource).Informer(), nil
	}
	return nil, fmt.Errorf("unknown client `%s`", client)
}

func follow(ctx context.Context, informer cache.SharedIndexInformer) error {
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(added interface{}) {
			shown := describe(added)
			say(line{Said: "event", Type: "ADDED", Object: &shown})
		},
		UpdateFunc: func(_, updated interface{}) {
			shown := describe(updated)
			say(line{Said: "event", Type: "MODIFIED", Object: &shown})
		},
		DeleteFunc: func(deleted interface{}) {
			if missed, ok := deleted.(cache.DeletedFinalStateUnknown); ok { // noticed by a relist
				deleted = missed.Obj
			}
			shown := describe(deleted)
			say(line{Said: "event", Type: "DELETED", Object: &shown})
		},
	}
	registration, err := informer.AddEventHandler(handler)
	if err != nil {
		return err
	}
	go informer.Run(ctx.Done())
	if cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		say(line{Said: "synced"})
	}
	<-ctx.Done()
	return nil
}

func list(ctx context.Context, config *rest.Config, resource schema.GroupVersionResource, pageSize int64) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	lister := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return client.Resource(resource).List(ctx, options)
	})
	lister.PageSize = pageSize
	items := []object{}
	err = lister.EachListItem(ctx, metav1.ListOptions{}, func(item runtime.Object) error {
		items = append(items, describe(item))
		return nil
	})
	say(line{Said: "listed", Items: items})
	return err
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "where the server is, and who calls")
	resourceName := flag.String("resource", "configmaps", "which resource of core/v1")
	client := flag.String("client", "typed", "typed, dynamic or metadata")
	pageSize := flag.Int64("page-size", 0, "list in pages of this size, and end")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		fail(err)
	}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return told{next} })
	resource := schema.GroupVersionResource{Version: "v1", Resource: *resourceName}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if *pageSize > 0 {
		err = list(ctx, config, resource, *pageSize)
	} else {
		var informer cache.SharedIndexInformer
		if informer, err = informerFor(config, *client, resource); err == nil {
			err = follow(ctx, informer)
		}
	}
	if err != nil {
		fail(err)
	}
}
