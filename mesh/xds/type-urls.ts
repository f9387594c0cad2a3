// The resource types on a discovery stream, and the order in which a change of several types is sent.

export const addressType = 'type.googleapis.com/istio.workload.Address';
export const authorizationType = 'type.googleapis.com/istio.security.Authorization';
export const meshConfigType = 'type.googleapis.com/weft.v1.MeshConfig';
export const nodePodType = 'type.googleapis.com/weft.v1.NodePod';
export const enrolledNamespacesType = 'type.googleapis.com/weft.v1.EnrolledNamespaces';

export const waypointType = 'type.googleapis.com/weft.v1.Waypoint';
export const serviceRoutingType = 'type.googleapis.com/weft.v1.ServiceRouting';
export const httpAuthorizationType = 'type.googleapis.com/weft.v1.HttpAuthorization';
export const requestAuthenticationType = 'type.googleapis.com/weft.v1.RequestAuthentication';

/** Types every node tunnel asks for; an istiod knows these and no others. */
export const istioTypes = [addressType, authorizationType] as const;

/** Types that only a Weft controller serves. */
export const weftTypes = [meshConfigType, enrolledNamespacesType, nodePodType] as const;

/** What only waypoints ask for: each resource is one JSON document of the model. */
export const documentTypes = [
  waypointType,
  serviceRoutingType,
  httpAuthorizationType,
  requestAuthenticationType,
] as const;

export type DocumentType = (typeof documentTypes)[number];
export type XdsType = (typeof istioTypes)[number] | (typeof weftTypes)[number] | DocumentType;

/**
 * Response header of a Weft controller. A client subscribes to weftTypes only after it saw this header, so an istiod
 * never meets a type it does not know.
 */
export const weftHeader = 'x-weft-xds';

/**
 * A policy before the workload that names it, a workload before the pod that is captured because of it; routes after
 * the services they lead to, and the waypoint that serves them last.
 */
export const pushOrder: readonly string[] = [
  meshConfigType,
  enrolledNamespacesType,
  authorizationType,
  httpAuthorizationType,
  requestAuthenticationType,
  addressType,
  serviceRoutingType,
  waypointType,
  nodePodType,
];
