import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { NodeReportSchema, type PodCapture_State } from '../xds/gen/weft/v1/node_report_pb.ts';
import { makeNodeFacts, makePodCapture } from './fixture.ts';
import type { NodeReport } from './node-report.ts';
import { decodeNodeReport, encodeNodeReport } from './node-report-codec.ts';

function overTheWire(report: NodeReport): NodeReport {
  return decodeNodeReport(fromBinary(NodeReportSchema, toBinary(NodeReportSchema, encodeNodeReport(report))));
}

describe('a node report', () => {
  it('arrives as it was sent', () => {
    const report: NodeReport = {
      complete: true,
      sentAt: 1_700_000_000_123,
      facts: makeNodeFacts({
        missingFeatures: [{ feature: 'a', needed: 'b', message: 'c' }],
        cni: { state: 'broken', message: 'somebody took it out of the chain' },
        certificateExpiry: 1_700_000_100_000,
      }),
      pods: [
        makePodCapture('web'),
        makePodCapture('db', { state: 'bypassed', reason: 'HookDetached', earlierConnections: 3 }),
      ],
      removed: [makePodCapture('gone').uid],
    };
    expect(overTheWire(report)).toEqual(report);
  });

  it('has no certificate expiry before the first certificate', () => {
    const facts = makeNodeFacts();
    const report = { complete: false, sentAt: 1, facts, pods: [], removed: [] };
    expect(overTheWire(report).facts?.certificateExpiry).toBeUndefined();
  });

  it('is cut to what a controller is willing to hold', () => {
    const pod = makePodCapture('web', { message: 'x'.repeat(5_000), reason: 'not a word' });
    const report = { complete: true, sentAt: 1, facts: undefined, pods: [pod], removed: [] };
    const [received] = overTheWire(report).pods;
    expect(received?.message).toHaveLength(1_024);
    expect(received?.reason).toBe('Unspecified');
  });

  it('leaves out pods in states of a later version', () => {
    const wire = create(NodeReportSchema, {
      pods: [{ uid: 'a', namespace: 'b', name: 'c', state: 77 as PodCapture_State }],
    });
    expect(decodeNodeReport(wire).pods).toEqual([]);
  });
});
