// Generated from supabase/migrations by scripts/generate.ts. Do not edit: run `npm run generate`.

export type Json = string | number | boolean | null | { [key: string]: Json } | Json[]

export type Database = {
  public: {
    Tables: {
      atp_poll_records: {
        Row: {
          cid: string
          created_at: string
          record: Json
          uri: string
        }
        Insert: {
          cid: string
          created_at?: string
          record: Json
          uri: string
        }
        Update: {
          cid?: string
          created_at?: string
          record?: Json
          uri?: string
        }
        Relationships: []
      }
      atp_poll_votes: {
        Row: {
          indexed_at: string
          poll_cid: string
          poll_uri: string
          record: Json
          uri: string
          voter_did: string
        }
        Insert: {
          indexed_at?: string
          poll_cid: string
          poll_uri: string
          record: Json
          uri: string
          voter_did: string
        }
        Update: {
          indexed_at?: string
          poll_cid?: string
          poll_uri?: string
          record?: Json
          uri?: string
          voter_did?: string
        }
        Relationships: [
          {
            foreignKeyName: "atp_poll_votes_poll_uri_fkey"
            columns: ["poll_uri"]
            isOneToOne: false
            referencedRelation: "atp_poll_records"
            referencedColumns: ["uri"]
          },
        ]
      }
      bsky_posts: {
        Row: {
          cid: string
          indexed_at: string
          post_view: Json
          uri: string
        }
        Insert: {
          cid: string
          indexed_at?: string
          post_view: Json
          uri: string
        }
        Update: {
          cid?: string
          indexed_at?: string
          post_view?: Json
          uri?: string
        }
        Relationships: []
      }
      bsky_profiles: {
        Row: {
          did: string
          handle: string | null
          indexed_at: string
          record: Json
        }
        Insert: {
          did: string
          handle?: string | null
          indexed_at?: string
          record: Json
        }
        Update: {
          did?: string
          handle?: string | null
          indexed_at?: string
          record?: Json
        }
        Relationships: [
          {
            foreignKeyName: "bsky_profiles_did_fkey"
            columns: ["did"]
            isOneToOne: true
            referencedRelation: "identities"
            referencedColumns: ["atp_did"]
          },
        ]
      }
      comments_on_documents: {
        Row: {
          document: string | null
          indexed_at: string
          profile: string | null
          record: Json
          uri: string
        }
        Insert: {
          document?: string | null
          indexed_at?: string
          profile?: string | null
          record: Json
          uri: string
        }
        Update: {
          document?: string | null
          indexed_at?: string
          profile?: string | null
          record?: Json
          uri?: string
        }
        Relationships: [
          {
            foreignKeyName: "comments_on_documents_document_fkey"
            columns: ["document"]
            isOneToOne: false
            referencedRelation: "documents"
            referencedColumns: ["uri"]
          },
        ]
      }
      custom_domains: {
        Row: {
          confirmed: boolean
          created_at: string
          domain: string
          identity: string | null
          identity_id: string | null
        }
        Insert: {
          confirmed: boolean
          created_at?: string
          domain: string
          identity?: string | null
          identity_id?: string | null
        }
        Update: {
          confirmed?: boolean
          created_at?: string
          domain?: string
          identity?: string | null
          identity_id?: string | null
        }
        Relationships: [
          {
            foreignKeyName: "custom_domains_identity_fkey"
            columns: ["identity"]
            isOneToOne: false
            referencedRelation: "identities"
            referencedColumns: ["email"]
          },
          {
            foreignKeyName: "custom_domains_identity_id_fkey"
            columns: ["identity_id"]
            isOneToOne: false
            referencedRelation: "identities"
            referencedColumns: ["id"]
          },
        ]
      }
      dead_letters: {
        Row: {
          code: string
          did: string | null
          error: string
          event: string
          failed_at: string
          id: number
          rev: string
          seq: number
          source: string
          uri: string
        }
        Insert: {
          code: string
          did?: never
          error: string
          event: string
          failed_at?: string
          id?: never
          rev: string
          seq: number
          source: string
          uri: string
        }
        Update: {
          code?: string
          did?: never
          error?: string
          event?: string
          failed_at?: string
          id?: never
          rev?: string
          seq?: number
          source?: string
          uri?: string
        }
        Relationships: []
      }
      document_mentions_in_bsky: {
        Row: {
          document: string
          indexed_at: string
          link: string
          uri: string
        }
        Insert: {
          document: string
          indexed_at?: string
          link: string
          uri: string
        }
        Update: {
          document?: string
          indexed_at?: string
          link?: string
          uri?: string
        }
        Relationships: [
          {
            foreignKeyName: "document_mentions_in_bsky_document_fkey"
            columns: ["document"]
            isOneToOne: false
            referencedRelation: "documents"
            referencedColumns: ["uri"]
          },
          {
            foreignKeyName: "document_mentions_in_bsky_uri_fkey"
            columns: ["uri"]
            isOneToOne: false
            referencedRelation: "bsky_posts"
            referencedColumns: ["uri"]
          },
        ]
      }
      document_tags: {
        Row: {
          tag: string
          uri: string
        }
        Insert: {
          tag: string
          uri: string
        }
        Update: {
          tag?: string
          uri?: string
        }
        Relationships: [
          {
            foreignKeyName: "document_tags_uri_fkey"
            columns: ["uri"]
            isOneToOne: false
            referencedRelation: "documents"
            referencedColumns: ["uri"]
          },
        ]
      }
      documents: {
        Row: {
          bsky_like_count: number
          data: Json
          indexed: boolean
          indexed_at: string
          recommend_count: number
          sort_date: string | null
          uri: string
        }
        Insert: {
          bsky_like_count?: number
          data: Json
          indexed?: boolean
          indexed_at?: string
          recommend_count?: number
          sort_date?: never
          uri: string
        }
        Update: {
          bsky_like_count?: number
          data?: Json
          indexed?: boolean
          indexed_at?: string
          recommend_count?: number
          sort_date?: never
          uri?: string
        }
        Relationships: []
      }
      documents_in_publications: {
        Row: {
          document: string
          indexed_at: string
          members_only: boolean
          publication: string
        }
        Insert: {
          document: string
          indexed_at?: string
          members_only?: boolean
          publication: string
        }
        Update: {
          document?: string
          indexed_at?: string
          members_only?: boolean
          publication?: string
        }
        Relationships: [
          {
            foreignKeyName: "documents_in_publications_document_fkey"
            columns: ["document"]
            isOneToOne: false
            referencedRelation: "documents"
            referencedColumns: ["uri"]
          },
          {
            foreignKeyName: "documents_in_publications_publication_fkey"
            columns: ["publication"]
            isOneToOne: false
            referencedRelation: "publications"
            referencedColumns: ["uri"]
          },
        ]
      }
      entities: {
        Row: {
          created_at: string
          id: string
          set: string
        }
        Insert: {
          created_at?: string
          id: string
          set: string
        }
        Update: {
          created_at?: string
          id?: string
          set?: string
        }
        Relationships: [
          {
            foreignKeyName: "entities_set_fkey"
            columns: ["set"]
            isOneToOne: false
            referencedRelation: "entity_sets"
            referencedColumns: ["id"]
          },
        ]
      }
      entity_sets: {
        Row: {
          created_at: string
          id: string
        }
        Insert: {
          created_at?: string
          id?: string
        }
        Update: {
          created_at?: string
          id?: string
        }
        Relationships: []
      }
      facts: {
        Row: {
          attribute: string
          created_at: string
          data: Json
          entity: string
          id: string
          updated_at: string | null
          version: number
        }
        Insert: {
          attribute: string
          created_at?: string
          data: Json
          entity: string
          id?: string
          updated_at?: string | null
          version?: number
        }
        Update: {
          attribute?: string
          created_at?: string
          data?: Json
          entity?: string
          id?: string
          updated_at?: string | null
          version?: number
        }
        Relationships: [
          {
            foreignKeyName: "facts_entity_fkey"
            columns: ["entity"]
            isOneToOne: false
            referencedRelation: "entities"
            referencedColumns: ["id"]
          },
        ]
      }
      firehose_cursors: {
        Row: {
          relay: string
          seq: number
          updated_at: string
        }
        Insert: {
          relay: string
          seq: number
          updated_at?: string
        }
        Update: {
          relay?: string
          seq?: number
          updated_at?: string
        }
        Relationships: []
      }
      identities: {
        Row: {
          atp_did: string | null
          created_at: string
          email: string | null
          home_page: string
          id: string
          interface_state: Json | null
          metadata: Json | null
        }
        Insert: {
          atp_did?: string | null
          created_at?: string
          email?: string | null
          home_page?: string
          id?: string
          interface_state?: Json | null
          metadata?: Json | null
        }
        Update: {
          atp_did?: string | null
          created_at?: string
          email?: string | null
          home_page?: string
          id?: string
          interface_state?: Json | null
          metadata?: Json | null
        }
        Relationships: [
          {
            foreignKeyName: "identities_home_page_fkey"
            columns: ["home_page"]
            isOneToOne: false
            referencedRelation: "permission_tokens"
            referencedColumns: ["id"]
          },
        ]
      }
      leaflets_in_publications: {
        Row: {
          archived: boolean | null
          cover_image: string | null
          description: string
          doc: string | null
          leaflet: string
          preferences: Json | null
          publication: string
          tags: string[] | null
          title: string
        }
        Insert: {
          archived?: boolean | null
          cover_image?: string | null
          description?: string
          doc?: string | null
          leaflet: string
          preferences?: Json | null
          publication: string
          tags?: string[] | null
          title?: string
        }
        Update: {
          archived?: boolean | null
          cover_image?: string | null
          description?: string
          doc?: string | null
          leaflet?: string
          preferences?: Json | null
          publication?: string
          tags?: string[] | null
          title?: string
        }
        Relationships: [
          {
            foreignKeyName: "leaflets_in_publications_doc_fkey"
            columns: ["doc"]
            isOneToOne: false
            referencedRelation: "documents"
            referencedColumns: ["uri"]
          },
          {
            foreignKeyName: "leaflets_in_publications_leaflet_fkey"
            columns: ["leaflet"]
            isOneToOne: false
            referencedRelation: "permission_tokens"
            referencedColumns: ["id"]
          },
          {
            foreignKeyName: "leaflets_in_publications_publication_fkey"
            columns: ["publication"]
            isOneToOne: false
            referencedRelation: "publications"
            referencedColumns: ["uri"]
          },
        ]
      }
      leaflets_to_documents: {
        Row: {
          cover_image: string | null
          created_at: string
          description: string
          document: string
          leaflet: string
          preferences: Json | null
          tags: string[] | null
          title: string
        }
        Insert: {
          cover_image?: string | null
          created_at?: string
          description?: string
          document: string
          leaflet: string
          preferences?: Json | null
          tags?: string[] | null
          title?: string
        }
        Update: {
          cover_image?: string | null
          created_at?: string
          description?: string
          document?: string
          leaflet?: string
          preferences?: Json | null
          tags?: string[] | null
          title?: string
        }
        Relationships: [
          {
            foreignKeyName: "leaflets_to_documents_document_fkey"
            columns: ["document"]
            isOneToOne: false
            referencedRelation: "documents"
            referencedColumns: ["uri"]
          },
          {
            foreignKeyName: "leaflets_to_documents_leaflet_fkey"
            columns: ["leaflet"]
            isOneToOne: false
            referencedRelation: "permission_tokens"
            referencedColumns: ["id"]
          },
        ]
      }
      notifications: {
        Row: {
          created_at: string
          data: Json
          id: string
          read: boolean
          recipient: string
        }
        Insert: {
          created_at?: string
          data: Json
          id: string
          read?: boolean
          recipient: string
        }
        Update: {
          created_at?: string
          data?: Json
          id?: string
          read?: boolean
          recipient?: string
        }
        Relationships: [
          {
            foreignKeyName: "notifications_recipient_fkey"
            columns: ["recipient"]
            isOneToOne: false
            referencedRelation: "identities"
            referencedColumns: ["atp_did"]
          },
        ]
      }
      oauth_session_store: {
        Row: {
          key: string
          session: Json
        }
        Insert: {
          key: string
          session: Json
        }
        Update: {
          key?: string
          session?: Json
        }
        Relationships: []
      }
      oauth_state_store: {
        Row: {
          key: string
          state: Json
        }
        Insert: {
          key: string
          state: Json
        }
        Update: {
          key?: string
          state?: Json
        }
        Relationships: []
      }
      parked_events: {
        Row: {
          mutation: Json
          parked_at: string
          target: string
          uri: string
          waits_on: string
        }
        Insert: {
          mutation: Json
          parked_at?: string
          target: string
          uri: string
          waits_on: string
        }
        Update: {
          mutation?: Json
          parked_at?: string
          target?: string
          uri?: string
          waits_on?: string
        }
        Relationships: []
      }
      permission_token_rights: {
        Row: {
          change_entity_set: boolean
          create_token: boolean
          created_at: string
          entity_set: string
          read: boolean
          token: string
          write: boolean
        }
        Insert: {
          change_entity_set?: boolean
          create_token?: boolean
          created_at?: string
          entity_set: string
          read?: boolean
          token: string
          write?: boolean
        }
        Update: {
          change_entity_set?: boolean
          create_token?: boolean
          created_at?: string
          entity_set?: string
          read?: boolean
          token?: string
          write?: boolean
        }
        Relationships: [
          {
            foreignKeyName: "permission_token_rights_entity_set_fkey"
            columns: ["entity_set"]
            isOneToOne: false
            referencedRelation: "entity_sets"
            referencedColumns: ["id"]
          },
          {
            foreignKeyName: "permission_token_rights_token_fkey"
            columns: ["token"]
            isOneToOne: false
            referencedRelation: "permission_tokens"
            referencedColumns: ["id"]
          },
        ]
      }
      permission_tokens: {
        Row: {
          blocked_by_admin: boolean | null
          id: string
          root_entity: string
        }
        Insert: {
          blocked_by_admin?: boolean | null
          id?: string
          root_entity: string
        }
        Update: {
          blocked_by_admin?: boolean | null
          id?: string
          root_entity?: string
        }
        Relationships: [
          {
            foreignKeyName: "permission_tokens_root_entity_fkey"
            columns: ["root_entity"]
            isOneToOne: false
            referencedRelation: "entities"
            referencedColumns: ["id"]
          },
        ]
      }
      publication_domains: {
        Row: {
          created_at: string
          domain: string
          identity: string
          publication: string
        }
        Insert: {
          created_at?: string
          domain: string
          identity: string
          publication: string
        }
        Update: {
          created_at?: string
          domain?: string
          identity?: string
          publication?: string
        }
        Relationships: [
          {
            foreignKeyName: "publication_domains_domain_fkey"
            columns: ["domain"]
            isOneToOne: false
            referencedRelation: "custom_domains"
            referencedColumns: ["domain"]
          },
          {
            foreignKeyName: "publication_domains_identity_fkey"
            columns: ["identity"]
            isOneToOne: false
            referencedRelation: "identities"
            referencedColumns: ["atp_did"]
          },
          {
            foreignKeyName: "publication_domains_publication_fkey"
            columns: ["publication"]
            isOneToOne: false
            referencedRelation: "publications"
            referencedColumns: ["uri"]
          },
        ]
      }
      publication_pages: {
        Row: {
          created_at: string
          document: string | null
          id: number
          path: string | null
          publication: string
          record: Json | null
          record_uri: string | null
          sort_order: string
          title: string
        }
        Insert: {
          created_at?: string
          document?: string | null
          id?: number
          path?: string | null
          publication: string
          record?: Json | null
          record_uri?: string | null
          sort_order: string
          title?: string
        }
        Update: {
          created_at?: string
          document?: string | null
          id?: number
          path?: string | null
          publication?: string
          record?: Json | null
          record_uri?: string | null
          sort_order?: string
          title?: string
        }
        Relationships: [
          {
            foreignKeyName: "publication_pages_document_fkey"
            columns: ["document"]
            isOneToOne: false
            referencedRelation: "documents"
            referencedColumns: ["uri"]
          },
          {
            foreignKeyName: "publication_pages_publication_fkey"
            columns: ["publication"]
            isOneToOne: false
            referencedRelation: "publications"
            referencedColumns: ["uri"]
          },
        ]
      }
      publication_post_sends: {
        Row: {
          completed_at: string | null
          document: string
          error: string | null
          publication: string
          started_at: string
          status: string
          subscriber_count: number | null
        }
        Insert: {
          completed_at?: string | null
          document: string
          error?: string | null
          publication: string
          started_at?: string
          status?: string
          subscriber_count?: number | null
        }
        Update: {
          completed_at?: string | null
          document?: string
          error?: string | null
          publication?: string
          started_at?: string
          status?: string
          subscriber_count?: number | null
        }
        Relationships: [
          {
            foreignKeyName: "publication_post_sends_document_fkey"
            columns: ["document"]
            isOneToOne: false
            referencedRelation: "documents"
            referencedColumns: ["uri"]
          },
          {
            foreignKeyName: "publication_post_sends_publication_fkey"
            columns: ["publication"]
            isOneToOne: false
            referencedRelation: "publications"
            referencedColumns: ["uri"]
          },
        ]
      }
      publication_subscriptions: {
        Row: {
          created_at: string
          identity: string
          publication: string
          record: Json
          uri: string
        }
        Insert: {
          created_at?: string
          identity: string
          publication: string
          record: Json
          uri: string
        }
        Update: {
          created_at?: string
          identity?: string
          publication?: string
          record?: Json
          uri?: string
        }
        Relationships: [
          {
            foreignKeyName: "publication_subscriptions_identity_fkey"
            columns: ["identity"]
            isOneToOne: false
            referencedRelation: "identities"
            referencedColumns: ["atp_did"]
          },
          {
            foreignKeyName: "publication_subscriptions_publication_fkey"
            columns: ["publication"]
            isOneToOne: false
            referencedRelation: "publications"
            referencedColumns: ["uri"]
          },
        ]
      }
      publications: {
        Row: {
          draft_leaflet: string | null
          identity_did: string
          indexed_at: string
          name: string
          record: Json | null
          uri: string
        }
        Insert: {
          draft_leaflet?: string | null
          identity_did: string
          indexed_at?: string
          name: string
          record?: Json | null
          uri: string
        }
        Update: {
          draft_leaflet?: string | null
          identity_did?: string
          indexed_at?: string
          name?: string
          record?: Json | null
          uri?: string
        }
        Relationships: [
          {
            foreignKeyName: "publications_draft_leaflet_fkey"
            columns: ["draft_leaflet"]
            isOneToOne: false
            referencedRelation: "permission_tokens"
            referencedColumns: ["id"]
          },
          {
            foreignKeyName: "publications_identity_did_fkey"
            columns: ["identity_did"]
            isOneToOne: false
            referencedRelation: "identities"
            referencedColumns: ["atp_did"]
          },
        ]
      }
      recommends_on_documents: {
        Row: {
          document: string
          indexed_at: string
          recommender_did: string
          record: Json
          uri: string
        }
        Insert: {
          document: string
          indexed_at?: string
          recommender_did: string
          record: Json
          uri: string
        }
        Update: {
          document?: string
          indexed_at?: string
          recommender_did?: string
          record?: Json
          uri?: string
        }
        Relationships: [
          {
            foreignKeyName: "recommends_on_documents_document_fkey"
            columns: ["document"]
            isOneToOne: false
            referencedRelation: "documents"
            referencedColumns: ["uri"]
          },
          {
            foreignKeyName: "recommends_on_documents_recommender_did_fkey"
            columns: ["recommender_did"]
            isOneToOne: false
            referencedRelation: "identities"
            referencedColumns: ["atp_did"]
          },
        ]
      }
      record_state: {
        Row: {
          cid: string | null
          deleted: boolean
          rev: string
          uri: string
        }
        Insert: {
          cid?: string | null
          deleted?: boolean
          rev: string
          uri: string
        }
        Update: {
          cid?: string | null
          deleted?: boolean
          rev?: string
          uri?: string
        }
        Relationships: []
      }
      replay_receipts: {
        Row: {
          commit: string
          did: string
          finished_at: string
          rev: string
          with_deletes: boolean
        }
        Insert: {
          commit: string
          did: string
          finished_at?: string
          rev: string
          with_deletes?: boolean
        }
        Update: {
          commit?: string
          did?: string
          finished_at?: string
          rev?: string
          with_deletes?: boolean
        }
        Relationships: []
      }
      restore_marks: {
        Row: {
          cid: string
          did: string
          marked_at: string
          run: string
          uri: string
        }
        Insert: {
          cid: string
          did: string
          marked_at?: string
          run: string
          uri: string
        }
        Update: {
          cid?: string
          did?: string
          marked_at?: string
          run?: string
          uri?: string
        }
        Relationships: []
      }
      site_standard_documents: {
        Row: {
          data: Json
          identity_did: string
          indexed_at: string
          uri: string
        }
        Insert: {
          data: Json
          identity_did: string
          indexed_at?: string
          uri: string
        }
        Update: {
          data?: Json
          identity_did?: string
          indexed_at?: string
          uri?: string
        }
        Relationships: [
          {
            foreignKeyName: "site_standard_documents_identity_did_fkey"
            columns: ["identity_did"]
            isOneToOne: false
            referencedRelation: "identities"
            referencedColumns: ["atp_did"]
          },
        ]
      }
      site_standard_publications: {
        Row: {
          data: Json
          identity_did: string
          indexed_at: string
          uri: string
        }
        Insert: {
          data: Json
          identity_did: string
          indexed_at?: string
          uri: string
        }
        Update: {
          data?: Json
          identity_did?: string
          indexed_at?: string
          uri?: string
        }
        Relationships: [
          {
            foreignKeyName: "site_standard_publications_identity_did_fkey"
            columns: ["identity_did"]
            isOneToOne: false
            referencedRelation: "identities"
            referencedColumns: ["atp_did"]
          },
        ]
      }
      tag_counts: {
        Row: {
          document_count: number
          tag: string
        }
        Insert: {
          document_count: number
          tag: string
        }
        Update: {
          document_count?: number
          tag?: string
        }
        Relationships: []
      }
      write_failures: {
        Row: {
          did: string
          error: string
          failed_at: string
          hint: string
          message: string
          run: string | null
          run_id: string
        }
        Insert: {
          did: string
          error: string
          failed_at: string
          hint: string
          message: string
          run?: string | null
          run_id: string
        }
        Update: {
          did?: string
          error?: string
          failed_at?: string
          hint?: string
          message?: string
          run?: string | null
          run_id?: string
        }
        Relationships: []
      }
      write_requests: {
        Row: {
          created_at: string
          did: string
          id: string
          records: string
        }
        Insert: {
          created_at?: string
          did: string
          id: string
          records: string
        }
        Update: {
          created_at?: string
          did?: string
          id?: string
          records?: string
        }
        Relationships: []
      }
    }
    Views: { [_ in never]: never }
    Functions: {
      create_identity_homepage: {
        Args: never
        Returns: string
      }
      document_tags_of: {
        Args: {
          data: Json
        }
        Returns: string[]
      }
      firehose_replay_above: {
        Args: {
          tbl: unknown
          rows: Json
          watched: string[]
          depth?: number
        }
        Returns: Json
      }
      firehose_replay_accounts: {
        Args: {
          batch: string
        }
        Returns: Json
      }
      firehose_replay_apply: {
        Args: {
          batch: string
        }
        Returns: Json
      }
      firehose_replay_catalog: {
        Args: never
        Returns: Json
      }
      firehose_replay_decide: {
        Args: {
          b: Json
          rows: Json
        }
        Returns: {
          rows: Json
          verdicts: Json
        }
      }
      firehose_replay_delete: {
        Args: {
          spec: Json
          rows: Json
          derives: Json
          going: string[]
        }
        Returns: string[]
      }
      firehose_replay_differs_sql: {
        Args: {
          tbl: unknown
          a: string
          b: string
          columns: string[]
        }
        Returns: string
      }
      firehose_replay_drain: {
        Args: {
          touched: string[]
        }
        Returns: {
          touched: string[]
          changed: string[]
          lost: string[]
        }
      }
      firehose_replay_equal_sql: {
        Args: {
          a: string
          a_columns: string[]
          b: string
          b_columns: string[]
        }
        Returns: string
      }
      firehose_replay_foreign_keys: {
        Args: {
          child: unknown
        }
        Returns: {
          parent: unknown
          parent_name: string
          columns: string[]
          parent_columns: string[]
          on_delete: string
        }[]
      }
      firehose_replay_foresee: {
        Args: {
          batch: string
        }
        Returns: Json
      }
      firehose_replay_hanging: {
        Args: {
          batch: string
        }
        Returns: number
      }
      firehose_replay_has_triggers: {
        Args: {
          tbl: unknown
        }
        Returns: boolean
      }
      firehose_replay_holders: {
        Args: {
          tbl: unknown
          key_cols: string[]
          cols: string[]
          rows: Json
          also_plain?: boolean
        }
        Returns: Json
      }
      firehose_replay_insert_all: {
        Args: {
          b: Json
          tbl: unknown
          cols: string[]
        }
        Returns: boolean
      }
      firehose_replay_key_sql: {
        Args: {
          alias: string
          columns: string[]
          names?: string[]
        }
        Returns: string
      }
      firehose_replay_list_sql: {
        Args: {
          alias: string
          columns: string[]
        }
        Returns: string
      }
      firehose_replay_listed_sql: {
        Args: {
          tbl: unknown
          columns: string[]
          common: Json
        }
        Returns: string
      }
      firehose_replay_mark: {
        Args: {
          batch: string
        }
        Returns: undefined
      }
      firehose_replay_move_sequences: {
        Args: {
          tbl: unknown
          cols: string[]
          ids: Json
        }
        Returns: Json
      }
      firehose_replay_moved: {
        Args: {
          earlier: Json
          later: Json
        }
        Returns: Json
      }
      firehose_replay_named: {
        Args: {
          b: Json
        }
        Returns: Json
      }
      firehose_replay_observe: {
        Args: {
          batch: string
        }
        Returns: Json
      }
      firehose_replay_park: {
        Args: {
          spec: Json
          full_row: Json
          waits_on: string
          taken_by?: string
        }
        Returns: string
      }
      firehose_replay_park_cascade: {
        Args: {
          derives: Json
          parent: string
          doomed: Json
          going: string[]
          depth?: number
        }
        Returns: undefined
      }
      firehose_replay_park_orphans: {
        Args: {
          spec: Json
          rows: Json
          derives: Json
          going: string[]
        }
        Returns: {
          rows: Json
          parked: string[]
        }
      }
      firehose_replay_prune: {
        Args: {
          spec: Json
          sets: Json
        }
        Returns: string[]
      }
      firehose_replay_referenced: {
        Args: {
          parent: unknown
        }
        Returns: {
          columns: string[]
        }[]
      }
      firehose_replay_refusals_sql: {
        Args: {
          b: Json
          tbl: unknown
          key_cols: string[]
          cols: string[]
          source: string
        }
        Returns: {
          place: number
          term: string
          hangs_on_itself: boolean
        }[]
      }
      firehose_replay_restore: {
        Args: {
          batch: string
        }
        Returns: Json
      }
      firehose_replay_rows: {
        Args: {
          batch: string
        }
        Returns: Json
      }
      firehose_replay_set_columns: {
        Args: {
          batch: string
        }
        Returns: Json
      }
      firehose_replay_settle: {
        Args: {
          spec: Json
          rows: Json
        }
        Returns: {
          rows: Json
          parked: string[]
        }
      }
      firehose_replay_settled: {
        Args: {
          rows: Json
          verdicts: Json
        }
        Returns: undefined
      }
      firehose_replay_source_sql: {
        Args: {
          tbl: string
        }
        Returns: string
      }
      firehose_replay_step: {
        Args: {
          step: Json
          derives: Json
          going: string[]
        }
        Returns: {
          changed: string[]
          touched: string[]
          parked: string[]
        }
      }
      firehose_replay_sweep: {
        Args: {
          batch: string
        }
        Returns: Json
      }
      firehose_replay_take_turn: {
        Args: never
        Returns: undefined
      }
      firehose_replay_text_sql: {
        Args: {
          alias: string
          columns: string[]
        }
        Returns: string
      }
      firehose_replay_trigger_functions: {
        Args: never
        Returns: Json
      }
      firehose_replay_try: {
        Args: {
          shape: Json
          rows: Json
        }
        Returns: boolean
      }
      firehose_replay_typed_sql: {
        Args: {
          tbl: unknown
          columns: string[]
          part?: string
        }
        Returns: string
      }
      firehose_replay_unique_keys: {
        Args: {
          tbl: unknown
        }
        Returns: {
          columns: string[]
          is_primary: boolean
        }[]
      }
      firehose_replay_unpark: {
        Args: {
          step: Json
          attempt?: number
        }
        Returns: {
          changed: string[]
          touched: string[]
          lost: string[]
        }
      }
      firehose_replay_waits_on: {
        Args: {
          parent: string
          parent_key: Json
        }
        Returns: string
      }
      firehose_replay_without: {
        Args: {
          rows: Json
          found: Json
        }
        Returns: Json
      }
      firehose_replay_write: {
        Args: {
          spec: Json
          rows: Json
          keep: boolean
        }
        Returns: {
          changed: string[]
          touched: string[]
        }
      }
      parse_iso_timestamp: {
        Args: {
          value: string
        }
        Returns: string
      }
    }
    Enums: { [_ in never]: never }
    CompositeTypes: { [_ in never]: never }
  }
}
