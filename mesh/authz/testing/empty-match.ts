// A match and L7 conditions with nothing set; a test sets what it is about.

import type { HttpMatchConditions, Match } from '../../model/authorization.ts';

export const emptyMatch: Match = {
  namespaces: [],
  notNamespaces: [],
  principals: [],
  notPrincipals: [],
  sourceIps: [],
  notSourceIps: [],
  destinationIps: [],
  notDestinationIps: [],
  destinationPorts: [],
  notDestinationPorts: [],
  serviceAccounts: [],
  notServiceAccounts: [],
};

export const emptyHttp: HttpMatchConditions = {
  hosts: [],
  notHosts: [],
  methods: [],
  notMethods: [],
  paths: [],
  notPaths: [],
  requestPrincipals: [],
  notRequestPrincipals: [],
  headers: [],
  claims: [],
};
