// The report service as client and server of this project name it.

import { NodeReportService } from '../xds/gen/weft/v1/node_report_pb.ts';
import { grpcService } from '../xds/grpc-service.ts';

export const nodeReportService = grpcService(NodeReportService);
